//! Floating-point values that JSON has no numbers for, as texts: arrow writes them as null, which says that there is no value.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, FieldRef, Float16Type, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder};

/// See the module.
#[derive(Debug)]
pub(super) struct JsonFloats;

impl EncoderFactory for JsonFloats {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        match array.data_type() {
            DataType::Float16 => encoder::<Float16Type>(field, array).map(Some),
            DataType::Float32 => encoder::<Float32Type>(field, array).map(Some),
            DataType::Float64 => encoder::<Float64Type>(field, array).map(Some),
            _ => Ok(None),
        }
    }
}

/// The options of the encoder of numbers: none of them matters to it.
static PLAIN: std::sync::LazyLock<EncoderOptions> = std::sync::LazyLock::new(EncoderOptions::default);

fn encoder<'a, T: ArrowPrimitiveType<Native: Into<f64>>>(
    field: &'a FieldRef,
    array: &'a dyn Array,
) -> Result<NullableEncoder<'a>, ArrowError> {
    let values = array.as_primitive::<T>().values();
    let numbers = make_encoder(field, array, &PLAIN)?;
    Ok(NullableEncoder::new(Box::new(Floats { values, numbers }), array.nulls().cloned()))
}

/// The values of one array.
struct Floats<'a, N> {
    values: &'a [N],
    numbers: NullableEncoder<'a>,
}

impl<N: Into<f64> + Copy> Encoder for Floats<'_, N> {
    fn encode(&mut self, index: usize, out: &mut Vec<u8>) {
        let value: f64 = self.values[index].into();
        match () {
            () if value.is_finite() => self.numbers.encode(index, out),
            () if value.is_nan() => out.extend_from_slice(br#""NaN""#),
            () if value > 0.0 => out.extend_from_slice(br#""Infinity""#),
            () => out.extend_from_slice(br#""-Infinity""#),
        }
    }
}
