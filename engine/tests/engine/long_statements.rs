//! Statements that are long, deep, or repeat themselves: planned as they are, or refused at once.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use polynya_engine::{Error, Settings};

use crate::lake::Lake;

async fn wide(columns: usize) -> Lake {
    let lake = Lake::new().await;
    let definitions: Vec<String> = (0..columns).map(|column| format!("c{column} int")).collect();
    lake.run(&format!("CREATE TABLE t ({})", definitions.join(", "))).await;
    lake.run("INSERT INTO t (c0, c1, c2) VALUES (1, 10, 5), (2, NULL, 6), (3, 30, 7)").await;
    lake
}

/// An expression in itself, so many times.
fn nested(levels: usize, inner: &str, around: &str) -> String {
    (0..levels).fold(inner.to_owned(), |inner, _| around.replace("{}", &inner))
}

fn assert_answers(text: &str, values: &[&str]) {
    for value in values {
        assert!(text.contains(&format!("| {value} ")), "{value} is not in\n{text}");
    }
}

#[tokio::test]
async fn what_would_double_at_each_level_is_answered() {
    let lake = wide(3).await;
    for (around, inner, values) in [
        ("coalesce({}, 1)", "c1", ["10", "1", "30"]),
        ("nvl(abs({}), 1)", "c1", ["10", "1", "30"]),
        ("ifnull({}, c2)", "c1", ["10", "6", "30"]),
        ("nullif({}, 0)", "c2", ["5", "6", "7"]),
        ("coalesce(c1, {})", "c2", ["10", "6", "30"]),
    ] {
        let expr = nested(24, inner, around);
        assert_answers(&lake.text(&format!("SELECT {expr} AS x FROM t")).await, &values);
        assert_answers(&lake.text(&format!("SELECT x FROM (SELECT {expr} AS x FROM t) WHERE x > 0")).await, &values);
    }
    let case = nested(24, "c1 > 20", "CASE WHEN {} THEN c0 > 1 ELSE c0 > 2 END");
    assert_answers(&lake.text(&format!("SELECT count(*) AS n FROM t WHERE {case}")).await, &["1"]);
    for (query, value) in [("v + 1", "27"), ("CASE WHEN v > 1 THEN v + 1 WHEN v < -1 THEN v - 1 ELSE v + 1 END", "27")]
    {
        let from = nested(24, "SELECT c0 AS v FROM t", &format!("SELECT {query} AS v FROM ({{}})"));
        assert_answers(&lake.text(&format!("SELECT max(v) AS m FROM ({from}) WHERE v > 0")).await, &[value]);
        let left = format!("SELECT max(b.v) AS m FROM t LEFT JOIN ({from}) b ON b.v = t.c0 + 24 WHERE b.v > 0");
        assert_answers(&lake.text(&left).await, &[value]);
    }
    let from = nested(20, "SELECT c0 AS v FROM t", "SELECT v + v AS v FROM ({})");
    assert_answers(
        &lake.text(&format!("SELECT v FROM ({from}) WHERE v > 0")).await,
        &["1048576", "2097152", "3145728"],
    );
}

#[tokio::test]
async fn what_can_have_no_other_form_is_refused() {
    let lake = wide(3).await;
    for sql in [
        format!("SELECT {} FROM t", nested(24, "c0 > 1", "({}) BETWEEN false AND true")),
        format!("SELECT {} FROM t", nested(24, "c1", "coalesce({} / c0, c2 / c0)")),
        format!("SELECT {} FROM t", nested(40, "1", "(SELECT {})")),
        format!("SELECT 1 FROM t WHERE {}", nested(40, "c0 > 1", "c0 IN (SELECT c0 FROM t WHERE {})")),
        format!("SELECT arrow_cast(NULL, '{}')", nested(60, "Int32", "List({})")),
        format!("SELECT {} FROM t", nested(60, "c0", "make_array({})")),
        format!("SELECT x FROM ({})", nested(60, "SELECT c0 AS x FROM t", "SELECT [x] AS x FROM ({})")),
    ] {
        let refused = lake.ask(&sql).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused.root(), Error::TooComplex(_) | Error::Syntax { .. }), "{}: {refused}", &sql[..60]);
        let described = lake.engine.describe(&sql, &lake.session).await.map(|_| ());
        assert!(described.is_err() || sql.contains("BETWEEN") || sql.contains("coalesce"), "{}", &sql[..60]);
    }
    let refused =
        lake.ask(&format!("CALL system.warm('t', filter => '{}')", vec!["c0 = 1"; 20_000].join(" OR "))).await;
    assert!(matches!(refused.unwrap_err().root(), Error::TooComplex(_)));
    for name in ["a".repeat(1 << 20), format!("\"{}\"", "a".repeat(1 << 20))] {
        for sql in [
            format!("SELECT {name}"),
            format!("SELECT * FROM {name}"),
            format!("SELECT {name}()"),
            format!("USE {name}"),
        ] {
            assert!(matches!(lake.ask(&sql).await.unwrap_err().root(), Error::TooComplex(_)));
        }
    }
    let begun = Instant::now();
    assert!(lake.ask(&format!("SET 'polynya.{}' = 1", "a".repeat(1 << 20))).await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(20), "names of a megabyte are not compared");
}

#[tokio::test]
async fn long_lists_are_answered() {
    let lake = wide(3).await;
    let values = (0..50_000).map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
    assert_answers(&lake.text(&format!("SELECT count(*) AS n FROM t WHERE c1 IN ({values})")).await, &["2"]);
    assert_answers(&lake.text(&format!("SELECT {}c1{} FROM t", "(".repeat(200), ")".repeat(200))).await, &["30"]);
    let from = nested(100, "SELECT c1 FROM t", "SELECT * FROM ({})");
    assert_answers(&lake.text(&from).await, &["10", "30"]);
    let mut case = "SELECT CASE".to_owned();
    for value in 0..600 {
        write!(case, " WHEN c1 >= {value} AND c1 < {value} + 1 THEN {value} * 2").unwrap();
    }
    assert_answers(&lake.text(&format!("{case} ELSE -1 END AS x FROM t")).await, &["20", "-1", "60"]);
    let or = (0..300).map(|value| format!("c1 = {value}")).collect::<Vec<_>>().join(" OR ");
    assert_answers(&lake.text(&format!("SELECT count(*) AS n FROM t WHERE {or}")).await, &["2"]);
}

#[tokio::test]
async fn all_columns_of_a_wide_table_are_given_in_any_order() {
    let lake = wide(400).await;
    for (sql, rows, first) in [
        ("SELECT * FROM t", 3, None),
        ("SELECT * FROM t LIMIT 1", 1, None),
        ("SELECT * FROM t AS x WHERE x.c1 > 5 ORDER BY c1 DESC", 2, Some(3)),
        ("SELECT * FROM t ORDER BY c2 DESC LIMIT 1 OFFSET 1", 1, Some(2)),
        ("SELECT * FROM t ORDER BY 1 DESC", 3, Some(3)),
        ("SELECT * EXCLUDE (c1) FROM t ORDER BY c0", 3, Some(1)),
        ("SELECT DISTINCT * FROM t ORDER BY c0", 3, Some(1)),
        ("SELECT * FROM t WHERE c0 = 2 UNION ALL SELECT * FROM t WHERE c0 = 3", 2, None),
    ] {
        let batches = lake.run(sql).await;
        let columns = if sql.contains("EXCLUDE") { 399 } else { 400 };
        assert_eq!(batches[0].num_columns(), columns, "{sql}");
        assert_eq!(batches[0].schema().field(columns - 1).name(), "c399", "{sql}");
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), rows, "{sql}");
        let described = lake.engine.describe(sql, &lake.session).await.unwrap();
        assert_eq!(described.schema.fields().len(), columns, "{sql}");
        if let Some(first) = first {
            let values = batches[0].column(0).as_any().downcast_ref::<arrow::array::Int32Array>().unwrap();
            assert_eq!(values.value(0), first, "{sql}");
        }
    }
}

#[tokio::test]
async fn planning_that_takes_long_ends_with_the_statements_time() {
    let lake = wide(3).await;
    lake.run("SET polynya.statement_timeout = '300ms'").await;
    let long = vec!["c0"; 2_000].join(" + ");
    let begun = Instant::now();
    let refused = lake.ask(&format!("SELECT {long} FROM t")).await.unwrap_err();
    assert!(matches!(refused.root(), Error::Timeout(_)), "{refused}");
    let described = lake.engine.describe(&format!("SELECT {long} FROM t"), &lake.session).await.unwrap_err();
    assert!(matches!(described.root(), Error::Timeout(_)), "{described}");
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn what_does_not_fit_the_memory_is_refused_before_it_is_parsed() {
    let mut settings = Settings::default();
    settings.memory.limit = Some(bytesize::ByteSize::mib(64));
    let lake = Lake::with(settings).await;
    let values = vec!["(1, 2, 3)"; 200_000].join(", ");
    let refused = lake.ask(&format!("SELECT count(*) FROM (VALUES {values})")).await.unwrap_err();
    assert!(matches!(refused.root(), Error::MemoryLimit { .. }), "{refused}");
    assert_answers(&lake.text("SELECT count(*) AS n FROM (VALUES (1), (2))").await, &["2"]);
}
