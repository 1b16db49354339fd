//! The session messages of Flight.proto, which the arrow-flight crate does not generate yet.
//!
//! Field numbers and types follow `format/Flight.proto` of Apache Arrow ("Session Options", "CloseSession"). These
//! actions carry bare messages, not `google.protobuf.Any`.

use std::collections::HashMap;

/// The value of one option.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SessionOptionValue {
    /// The value; none asks the server to unset the option.
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    pub(crate) option_value: Option<OptionValue>,
}

/// The types an option may have.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum OptionValue {
    /// Text.
    #[prost(string, tag = "1")]
    String(String),
    /// A switch.
    #[prost(bool, tag = "2")]
    Bool(bool),
    /// A whole number.
    #[prost(sfixed64, tag = "3")]
    Int64(i64),
    /// A number.
    #[prost(double, tag = "4")]
    Double(f64),
    /// Several texts.
    #[prost(message, tag = "5")]
    StringList(StringListValue),
}

/// Several texts.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StringListValue {
    /// The texts, in order.
    #[prost(string, repeated, tag = "1")]
    pub(crate) values: Vec<String>,
}

/// Asks for options to be set.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SetSessionOptionsRequest {
    /// New values by name.
    #[prost(map = "string, message", tag = "1")]
    pub(crate) session_options: HashMap<String, SessionOptionValue>,
}

/// Says which options could not be set; the others were.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SetSessionOptionsResult {
    /// Errors by name.
    #[prost(map = "string, message", tag = "1")]
    pub(crate) errors: HashMap<String, OptionError>,
}

/// Why one option could not be set.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OptionError {
    /// The reason.
    #[prost(enumeration = "OptionErrorValue", tag = "1")]
    pub(crate) value: i32,
}

/// The reasons for which an option cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum OptionErrorValue {
    /// Not said.
    Unspecified = 0,
    /// There is no such option.
    InvalidName = 1,
    /// The option does not take this value.
    InvalidValue = 2,
    /// Anything else.
    Error = 3,
}

/// Gives every option of the session.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GetSessionOptionsResult {
    /// Values by name.
    #[prost(map = "string, message", tag = "1")]
    pub(crate) session_options: HashMap<String, SessionOptionValue>,
}

/// Says what became of a session that was asked to close.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CloseSessionResult {
    /// The outcome.
    #[prost(enumeration = "CloseSessionStatus", tag = "1")]
    pub(crate) status: i32,
}

/// The outcomes of closing a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum CloseSessionStatus {
    /// Not known.
    Unspecified = 0,
    /// Closed.
    Closed = 1,
    /// Under way.
    Closing = 2,
    /// It cannot be closed.
    NotCloseable = 3,
}

impl From<&str> for SessionOptionValue {
    fn from(value: &str) -> Self {
        Self { option_value: Some(OptionValue::String(value.to_owned())) }
    }
}
