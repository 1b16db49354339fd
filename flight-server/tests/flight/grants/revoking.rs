//! What was taken from a user is not theirs any more: neither by statements that were prepared before, nor by tickets that were
//! given before. Who sees what to begin with is tested in [`super`].

use arrow_flight::Ticket;
use arrow_flight::sql::CommandGetTables;
use tonic::Code;

use super::{Lake, User, words};
use crate::harness::{assert_refused, statement, ticket};

/// Tables of several users, and eve, who may do these things as an auditor.
async fn auditing(grants: &[&str]) -> (Lake, User) {
    let lake = Lake::start().await;
    lake.done("root", "CREATE ROLE auditor").await;
    lake.done("root", "GRANT ROLE auditor TO USER eve").await;
    for grant in grants {
        lake.done("root", &format!("GRANT {grant} TO ROLE auditor")).await;
    }
    let eve = lake.user("eve");
    (lake, eve)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_prepared_is_not_run_after_its_grant_was_taken() {
    let (lake, mut eve) = auditing(&["SELECT ON lake.payroll.salaries"]).await;
    let prepared = eve.prepare("SELECT * FROM lake.payroll.salaries").await.unwrap();
    let info = eve.info(prepared.clone()).await.unwrap();
    assert!(words(&eve.fetch(ticket(&info)).await).contains("forty two thousand"));
    assert!(words(&eve.command(CommandGetTables::default()).await).contains("salaries"));
    lake.done("root", "REVOKE SELECT ON lake.payroll.salaries FROM ROLE auditor").await;
    assert_refused(eve.info(prepared.clone()).await, Code::NotFound, "does not exist");
    assert_refused(eve.fetch(Ticket::new(prepared.cmd.clone())).await, Code::NotFound, "does not exist");
    let request = eve.request(prepared);
    assert_refused(eve.raw.get_schema(request).await, Code::NotFound, "does not exist");
    assert!(!words(&eve.command(CommandGetTables::default()).await).contains("salaries"));
    assert_refused(eve.query("GRANT ROLE admin TO USER eve").await, Code::PermissionDenied, "no admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_not_good_for_what_was_taken_after_it_was_given() {
    let (lake, mut eve) =
        auditing(&["SELECT, INSERT ON lake.payroll.salaries", "SELECT ON lake.shared.bobs_ledger"]).await;
    let mut tickets = Vec::new();
    for sql in [
        "SELECT * FROM lake.payroll.salaries",
        "SELECT count(*) FROM lake.shared.bobs_ledger",
        "SELECT * FROM lake.information_schema.tables",
        "SELECT 'of no table'",
        "SELECT * FROM lake.payroll.salaries UNION ALL SELECT * FROM lake.payroll.salaries",
    ] {
        tickets.push(ticket(&eve.info(statement(sql)).await.unwrap()));
    }
    let [salaries, ledger, list, nothing, again] = <[Ticket; 5]>::try_from(tickets).unwrap();
    // What is given in addition takes nothing away.
    lake.done("root", "GRANT SELECT ON lake.storefront.* TO ROLE auditor").await;
    assert!(words(&eve.fetch(again).await).contains("forty two thousand"));
    lake.done("root", "REVOKE SELECT ON lake.payroll.salaries FROM ROLE auditor").await;
    lake.done("root", "REVOKE SELECT ON lake.shared.bobs_ledger FROM ROLE auditor").await;
    // She may still add rows to one of them, and so sees it.
    assert_refused(eve.fetch(salaries).await, Code::PermissionDenied, "lacks SELECT on table lake.payroll.salaries");
    assert_refused(eve.fetch(ledger).await, Code::NotFound, "table lake.shared.bobs_ledger does not exist");
    assert_refused(eve.fetch(list).await, Code::PermissionDenied, "run it again");
    assert!(words(&eve.fetch(nothing).await).contains("of no table"));
}
