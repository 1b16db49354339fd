package polynya;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;
import org.junit.jupiter.api.Test;

/** Connecting, who may, and what a connection leaves behind. */
class ConnectTest {
  @Test
  void a_connection_runs_a_query() throws Exception {
    try (Connection connection = Server.connect()) {
      assertTrue(connection.isValid(5));
      assertEquals(2, Server.number(connection, "SELECT 1 + 1"));
    }
  }

  @Test
  void the_catalog_of_the_url_is_the_current_one() throws Exception {
    try (Connection connection = Server.connect("catalog", Server.CATALOG);
        Statement statement = connection.createStatement();
        ResultSet rows = statement.executeQuery("SELECT count(*) FROM information_schema.schemata")) {
      assertTrue(rows.next());
    }
  }

  @Test
  void use_lasts_for_the_connection() throws Exception {
    try (Connection connection = Server.connect()) {
      Server.update(connection, "USE " + Server.CATALOG + "." + Server.SCHEMA,
          "DROP TABLE IF EXISTS here", "CREATE TABLE here (a int)", "INSERT INTO here VALUES (1), (2)");
      assertEquals(2, Server.number(connection, "SELECT count(*) FROM here"));
      Server.update(connection, "DROP TABLE here");
    }
  }

  @Test
  void updates_give_their_counts_and_run_once() throws Exception {
    try (Connection connection = Server.connect();
        Statement statement = connection.createStatement()) {
      String table = Server.table("counted");
      statement.executeUpdate("DROP TABLE IF EXISTS " + table);
      assertEquals(0, statement.executeUpdate("CREATE TABLE " + table + " (a int)"));
      assertEquals(3, statement.executeUpdate("INSERT INTO " + table + " VALUES (1), (2), (3)"));
      assertFalse(statement.execute("INSERT INTO " + table + " VALUES (4)"), "it gives no rows");
      assertEquals(4, Server.number(connection, "SELECT count(*) FROM " + table));
      statement.executeUpdate("DROP TABLE " + table);
    }
  }

  @Test
  void errors_say_what_is_wrong_and_the_connection_lives_on() throws Exception {
    try (Connection connection = Server.connect();
        Statement statement = connection.createStatement()) {
      SQLException missing =
          assertThrows(SQLException.class, () -> statement.executeQuery("SELECT * FROM " + Server.table("typess")));
      assertTrue(everything(missing).contains("does not exist"), everything(missing));
      SQLException syntax = assertThrows(SQLException.class, () -> statement.executeQuery("SELECT 1\nFORM t x"));
      assertTrue(everything(syntax).contains("Line: 2") && everything(syntax).contains("^"), everything(syntax));
      assertEquals(1, Server.number(connection, "SELECT 1"));
    }
  }

  /** The server keeps at most 200 sessions and 200 prepared statements here: leaving them behind fails soon. */
  @Test
  void a_thousand_connections_leave_nothing_behind() throws Exception {
    for (int i = 0; i < 1000; i++) {
      try (Connection connection = i % 2 == 0 ? Server.connect() : Server.connect("catalog", Server.CATALOG);
          Statement statement = connection.createStatement();
          ResultSet rows = statement.executeQuery("SELECT " + i)) {
        assertTrue(rows.next());
        assertEquals(i, rows.getInt(1));
      }
    }
    try (Connection connection = Server.connect()) {
      String running = "SELECT count(*) FROM system.queries WHERE state IN ('PLANNING', 'QUEUED', 'RUNNING')";
      assertTrue(Server.number(connection, running) <= 1, "only the query that counts runs");
    }
  }

  @Test
  void a_wrong_password_is_refused() {
    assumeTrue(Server.optional("POLYNYA_JDBC_USER") != null, "the server has no users");
    assertThrows(SQLException.class, () -> Server.connect("password", "not the password").close());
  }

  @Test
  void nobody_is_refused() {
    assumeTrue(Server.optional("POLYNYA_JDBC_USER") != null || Server.optional("POLYNYA_JDBC_TOKEN") != null,
        "the server asks nobody");
    Properties nothing = new Properties();
    if (Server.optional("POLYNYA_JDBC_TLS_ROOTS") != null) {
      nothing.setProperty("tlsRootCerts", Server.optional("POLYNYA_JDBC_TLS_ROOTS"));
    }
    assertThrows(SQLException.class, () -> {
      try (Connection connection = DriverManager.getConnection(Server.URL, nothing)) {
        Server.number(connection, "SELECT 1");
      }
    });
  }

  @Test
  void a_token_is_as_good_as_a_password() throws Exception {
    String token = Server.optional("POLYNYA_JDBC_TOKEN");
    assumeTrue(token != null, "the server knows no token");
    Properties properties = new Properties();
    properties.setProperty("token", token);
    if (Server.optional("POLYNYA_JDBC_TLS_ROOTS") != null) {
      properties.setProperty("tlsRootCerts", Server.optional("POLYNYA_JDBC_TLS_ROOTS"));
    }
    try (Connection connection = DriverManager.getConnection(Server.URL, properties)) {
      assertEquals(1, Server.number(connection, "SELECT 1"));
    }
  }

  /** The messages of an error and its causes: the driver wraps the server's. */
  static String everything(Throwable error) {
    StringBuilder text = new StringBuilder();
    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
      text.append(cause).append('\n');
    }
    return text.toString();
  }
}
