//! Keys and values on the command line.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::failure::Failure;
use crate::text::Type;

/// The bytes that an argument stands for in a key or value of type `kind`: those of a file after `@`, else what its
/// text says. An argument that is not UTF-8 is taken as it is.
pub fn bytes(argument: &OsStr, kind: &Type) -> Result<Vec<u8>, Failure> {
    if let [b'@', path @ ..] = argument.as_bytes() {
        let contents = read(Path::new(OsStr::from_bytes(path)))?;
        return kind.checked(contents).map_err(|why| Failure::input(why).at(argument.display()));
    }
    let understood = match argument.to_str() {
        Some(text) => kind.bytes_of_text(text),
        None => kind.checked(argument.as_bytes().to_vec()),
    };
    understood.map_err(|why| match why.starts_with(&*argument.to_string_lossy()) {
        true => Failure::usage(why),
        false => Failure::usage(why).at(argument.display()),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut contents = Vec::new();
    let read = match path.as_os_str().as_bytes() {
        b"-" => io::stdin().lock().read_to_end(&mut contents).map(|_| contents),
        _ => fs::read(path),
    };
    read.map_err(|error| Failure::os("read", path, error))
}
