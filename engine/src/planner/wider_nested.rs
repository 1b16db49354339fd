//! The types of lists, structs and maps beside others of which values must stay what they are.
//!
//! In: the type of a value, and the types of those beside it. Out: the type in which the value is to stand among them, place by place
//! (elements of lists, fields of structs, keys and values of maps), if that is another. What wins at a place is `wider_type_wins.rs`'s to
//! say.
//!
//! ```text
//! array<decimal(2, 1)> beside array<double>          is   array<double>
//! struct<a decimal(2, 1), b int> beside struct<a double, b decimal(9, 2)>   is   struct<a double, b int>
//! ```

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef, Fields};

use super::wider_type_wins::{is_narrower, winner};

/// The type of a value beside values of these types, if it is another.
pub(super) fn widened(own: &DataType, beside: &[&DataType]) -> Option<DataType> {
    by_place(own, beside, |own, beside| winner(beside).filter(|winner| is_narrower(own, winner)))
}

/// The type that a column of values of these types should have, if DataFusion gave it another, in which values are lost.
pub(super) fn mended(column: &DataType, values: &[&DataType]) -> Option<DataType> {
    by_place(column, values, |column, values| {
        let is_concerned = column.is_decimal() || matches!(column, DataType::Timestamp(..));
        winner(values).filter(|winner| is_concerned && winner != column)
    })
}

/// Asks for each place that has no others in it.
fn by_place(
    own: &DataType,
    beside: &[&DataType],
    at: impl Fn(&DataType, &[&DataType]) -> Option<DataType> + Copy,
) -> Option<DataType> {
    let in_field = |field: &FieldRef, beside: &[&DataType]| {
        let changed = by_place(field.data_type(), beside, at)?;
        Some(Arc::new(field.as_ref().clone().with_data_type(changed)))
    };
    let elements = || beside.iter().filter_map(|ty| element(ty)).collect::<Vec<_>>();
    match own {
        DataType::List(field) => in_field(field, &elements()).map(DataType::List),
        DataType::LargeList(field) => in_field(field, &elements()).map(DataType::LargeList),
        DataType::FixedSizeList(field, size) => {
            in_field(field, &elements()).map(|field| DataType::FixedSizeList(field, *size))
        }
        DataType::Map(entries, sorted) => {
            let beside: Vec<&DataType> = beside
                .iter()
                .filter_map(|ty| match ty {
                    DataType::Map(entries, _) => Some(entries.data_type()),
                    _ => None,
                })
                .collect();
            in_field(entries, &beside).map(|entries| DataType::Map(entries, *sorted))
        }
        DataType::Struct(fields) => {
            let others: Vec<&Fields> = beside
                .iter()
                .filter_map(|ty| match ty {
                    DataType::Struct(fields) => Some(fields),
                    _ => None,
                })
                .collect();
            let changed: Vec<Option<FieldRef>> = fields
                .iter()
                .enumerate()
                .map(|(place, field)| {
                    let there = others.iter().filter_map(|others| counterpart(fields, place, others));
                    in_field(field, &there.map(|field| field.data_type()).collect::<Vec<_>>())
                })
                .collect();
            changed.iter().any(Option::is_some).then(|| {
                let fields = fields.iter().zip(changed);
                DataType::Struct(fields.map(|(field, changed)| changed.unwrap_or_else(|| Arc::clone(field))).collect())
            })
        }
        own => at(own, beside),
    }
}

/// The type of a list's elements.
pub(super) fn element(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            Some(field.data_type())
        }
        _ => None,
    }
}

/// The field of another struct that meets the one at this place: that of its name if the structs share names, else that of its place.
fn counterpart<'a>(own: &Fields, place: usize, other: &'a Fields) -> Option<&'a FieldRef> {
    if own.iter().any(|field| other.find(field.name()).is_some()) {
        return other.find(own[place].name()).map(|(_, field)| field);
    }
    other.get(place).filter(|_| own.len() == other.len())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, TimeUnit};

    use super::*;

    fn list(element: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("element", element, true)))
    }

    fn row(fields: &[(&str, DataType)]) -> DataType {
        DataType::Struct(fields.iter().map(|(name, ty)| Field::new(*name, ty.clone(), true)).collect())
    }

    #[test]
    fn a_decimal_is_a_double_where_it_meets_one_at_its_place() {
        let (decimal, double) = (DataType::Decimal128(2, 1), DataType::Float64);
        for (own, beside, expected) in [
            (list(decimal.clone()), list(double.clone()), Some(list(double.clone()))),
            (list(double.clone()), list(decimal.clone()), None),
            (list(DataType::Int64), list(double.clone()), None),
            (list(list(decimal.clone())), list(list(double.clone())), Some(list(list(double.clone())))),
            (decimal.clone(), list(double.clone()), None),
            (
                row(&[("a", decimal.clone()), ("b", decimal.clone())]),
                row(&[("b", double.clone()), ("a", DataType::Int32)]),
                Some(row(&[("a", decimal.clone()), ("b", double.clone())])),
            ),
            (row(&[("c0", decimal.clone())]), row(&[("a", double.clone())]), Some(row(&[("c0", double.clone())]))),
            (
                list(DataType::Date32),
                list(DataType::Timestamp(TimeUnit::Microsecond, None)),
                Some(list(DataType::Timestamp(TimeUnit::Microsecond, None))),
            ),
        ] {
            assert_eq!(widened(&own, &[&own, &beside]), expected, "{own} beside {beside}");
        }
        let column = list(DataType::Decimal128(30, 15));
        let values = [list(decimal.clone()), list(double.clone())];
        assert_eq!(mended(&column, &values.iter().collect::<Vec<_>>()), Some(list(double)));
        assert_eq!(mended(&column, &[&values[0]]), None);
    }
}
