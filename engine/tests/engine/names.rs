//! How names are matched.

use crate::lake::Lake;

async fn mixed() -> Lake {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE \"Events\" (\"userId\" BIGINT, \"Kind\" VARCHAR, day INT)").await;
    lake.run("INSERT INTO \"Events\" VALUES (1, 'a', 10), (2, 'b', 20), (2, 'c', 30)").await;
    lake
}

#[tokio::test]
async fn unquoted_names_match_in_any_case() {
    let lake = mixed().await;
    for sql in [
        "SELECT userId, KIND FROM events WHERE USERID = 2 AND e.kind = 'b'",
        "SELECT e.userid, e.Kind FROM EVENTS AS e WHERE e.UserId = 2 AND e.kind = 'b'",
        "SELECT userid, max(kind) AS kind FROM events WHERE kind < 'c' GROUP BY userid HAVING userid = 2 ORDER BY kind",
        "WITH x AS (SELECT userid, kind FROM events) SELECT a.userid, a.kind FROM x a JOIN x b USING (userid, kind) WHERE a.kind = 'b'",
        "SELECT \"userId\", \"Kind\" FROM \"Events\" WHERE \"Kind\" = 'b'",
    ] {
        let sql = sql.replace("e.kind = 'b'", if sql.contains(" AS e") { "e.kind = 'b'" } else { "kind = 'b'" });
        let text = lake.text(&sql).await;
        assert!(text.contains("| 2 ") && text.contains("| b ") && !text.contains("| c "), "{sql}\n{text}");
    }
}

#[tokio::test]
async fn names_that_differ_only_in_case_need_quotes() {
    let lake = Lake::new().await;
    lake.run("CREATE TABLE t (\"A\" INT, \"a\" INT)").await;
    lake.run("INSERT INTO t VALUES (1, 2)").await;
    assert!(lake.text("SELECT A FROM t").await.contains("| 2 "));
    assert!(lake.text("SELECT \"A\" FROM t").await.contains("| 1 "));
}

#[tokio::test]
async fn a_name_that_is_nearly_right_is_answered_with_the_right_one() {
    let lake = mixed().await;
    let message = lake.ask("SELECT * FROM Evnets").await.unwrap_err().to_string();
    assert!(message.contains("lake.s.evnets does not exist: did you mean Events?"), "{message}");
    let message = lake.ask("SELECT * FROM lak.s.events").await.unwrap_err().to_string();
    assert!(message.contains("catalog lak does not exist: did you mean lake?"), "{message}");
    let message = lake.ask("SELECT * FROM z.events").await.unwrap_err().to_string();
    assert!(message.contains("schema lake.z does not exist"), "{message}");
}

#[tokio::test]
async fn clauses_that_would_be_ignored_are_refused() {
    let lake = mixed().await;
    for sql in
        ["SELECT * FROM events TABLESAMPLE BERNOULLI (10)", "EXPLAIN SELECT * FROM (SELECT 1) x, events WITH (NOLOCK)"]
    {
        let message = lake.ask(sql).await.unwrap_err().to_string();
        assert!(message.contains("is not supported"), "{sql}: {message}");
    }
}
