//! Entries as verbs print them: key and value apart by a tab, or one JSON object a line.

use serde::Serialize;

use crate::cli::Manner;
use crate::failure::Failure;
use crate::output::Output;
use crate::selection::Types;
use crate::text::json::Json;

/// What of an entry is printed, and how.
#[derive(Clone, Copy)]
pub struct Printing<'t> {
    /// Words or JSON.
    pub manner: Manner,
    /// What its bytes mean.
    pub types: &'t Types,
    /// Whether the value is left out.
    pub keys_only: bool,
}

#[derive(Serialize)]
struct Entry<'a> {
    key: Json<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Json<'a>>,
}

impl Printing<'_> {
    /// Prints one entry on one line.
    pub fn print(&self, key: &[u8], value: &[u8], output: &mut Output) -> Result<(), Failure> {
        let Types { keys, values } = self.types;
        if self.manner.json {
            let value = (!self.keys_only).then(|| Json::new(values, value));
            return output.json(&Entry { key: Json::new(keys, key), value });
        }
        output.bytes(keys.text_of(key).as_bytes())?;
        if !self.keys_only {
            output.bytes(b"\t")?;
            output.bytes(values.text_of(value).as_bytes())?;
        }
        output.bytes(b"\n")
    }
}
