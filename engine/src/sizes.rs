//! Sizes in settings: a number of bytes, or a text such as "10GiB".

use bytesize::ByteSize;
use serde::de::{Deserialize, Deserializer, Error};

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Negative(i64),
    Float(f64),
    Text(String),
}

/// A size.
pub(crate) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let wrong =
        |found: String| D::Error::custom(format!("{found} is no size: expected bytes, such as 1073741824 or \"1GiB\""));
    match Written::deserialize(deserializer).map_err(|_| wrong("this".to_owned()))? {
        Written::Number(bytes) if bytes <= i64::MAX as u64 => Ok(ByteSize::b(bytes)),
        Written::Number(bytes) => Err(wrong(bytes.to_string())),
        Written::Negative(bytes) => Err(wrong(bytes.to_string())),
        Written::Float(bytes) => Err(wrong(bytes.to_string())),
        Written::Text(text) => match text.parse::<ByteSize>() {
            Ok(bytes) if bytes.as_u64() <= i64::MAX as u64 => Ok(bytes),
            _ => Err(wrong(format!("\"{text}\""))),
        },
    }
}

/// A size that may be left out.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    size(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use crate::CacheSettings;

    fn memory_bytes(json: &str) -> Result<u64, String> {
        let settings: Result<CacheSettings, _> = serde_json::from_str(&format!("{{\"memory_bytes\": {json}}}"));
        settings.map(|settings| settings.memory_bytes.as_u64()).map_err(|error| error.to_string())
    }

    #[test]
    fn sizes_are_numbers_or_texts_and_others_say_what_is_expected() {
        assert_eq!(memory_bytes("1024"), Ok(1024));
        assert_eq!(memory_bytes("\"1 GiB\""), Ok(1 << 30));
        for wrong in ["-1", "1.5", "\"15%\"", "\"\"", "\"lots\"", "\"100EiB\"", "true"] {
            let error = memory_bytes(wrong).unwrap_err();
            assert!(error.contains("is no size: expected bytes"), "{wrong}: {error}");
        }
    }
}
