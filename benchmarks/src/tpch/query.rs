//! The texts of the 22 queries, as they are in the folder `queries`.

/// One of the 22 queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    number: u8,
    sql: &'static str,
}

/// One text file per query, from a folder of this crate.
macro_rules! one_per_query {
    ($folder:literal, $suffix:literal) => {
        $crate::tpch::query::one_per_query!(@list $folder, $suffix,
            "01" "02" "03" "04" "05" "06" "07" "08" "09" "10" "11"
            "12" "13" "14" "15" "16" "17" "18" "19" "20" "21" "22")
    };
    (@list $folder:literal, $suffix:literal, $($number:literal)*) => {
        [$(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $folder, "/q", $number, $suffix))),*]
    };
}
pub(crate) use one_per_query;

const TEXTS: [&str; Query::COUNT] = one_per_query!("queries", ".sql");

impl Query {
    /// How many queries there are.
    pub const COUNT: usize = 22;

    /// The query with this number, from 1 to 22.
    pub fn new(number: u8) -> Option<Self> {
        let index = usize::from(number).checked_sub(1)?;
        TEXTS.get(index).map(|sql| Self { number, sql })
    }

    /// All queries in order.
    pub fn all() -> Vec<Self> {
        (1..).map_while(Self::new).collect()
    }

    /// The query's number.
    pub fn number(self) -> u8 {
        self.number
    }

    /// The text, without a closing semicolon.
    pub fn sql(self) -> &'static str {
        self.sql
    }

    /// The columns of the last ORDER BY, which order the result; none if nothing does.
    pub fn sort_columns(self) -> Vec<&'static str> {
        let clause = self.sql.lines().rev().find_map(|line| line.strip_prefix("ORDER BY "));
        let terms = clause.unwrap_or_default().split(',');
        terms.filter_map(|term| term.split_whitespace().next()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_22_queries_and_each_is_its_own() {
        let queries = Query::all();
        assert_eq!(queries.len(), Query::COUNT);
        for query in queries {
            assert!(query.sql().starts_with(&format!("-- TPC-H Q{}:", query.number())), "Q{}", query.number());
        }
        assert_eq!((Query::new(0), Query::new(23)), (None, None));
    }

    #[test]
    fn the_outermost_order_is_found() {
        let sort = |number| Query::new(number).expect("a query").sort_columns();
        assert_eq!(sort(3), ["revenue", "o_orderdate"]);
        assert_eq!(sort(16), ["supplier_cnt", "p_brand", "p_type", "p_size"]);
        assert_eq!(sort(6), [""; 0]);
    }
}
