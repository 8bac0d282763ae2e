//! UUIDs: their sixteen bytes, which sort as they do; those of version 7 by the time they were made.

use uuid::Uuid;

use super::part::{fixed, key_parts};

fixed!(Uuid, "uuid", 16, |id| *id.as_bytes(), |bytes| Some(Uuid::from_bytes(bytes)));
key_parts!(Uuid);
