package polynya;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
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
    try (Connection connection = Server.connect()) {
      Server.update(connection, "DROP TABLE IF EXISTS " + Server.table("here"), "CREATE TABLE " + Server.table("here") + " (a int)");
    }
    Connection connection = Server.connect("catalog", Server.CATALOG);
    try {
      assertEquals(0, Server.number(connection, "SELECT count(*) FROM " + Server.SCHEMA + ".here"));
      Server.update(connection, "DROP TABLE " + Server.SCHEMA + ".here");
    } finally {
      Server.closeNamed(connection);
    }
  }

  @Test
  void a_catalog_that_is_not_there_is_refused() {
    assertThrows(SQLException.class, () -> Server.connect("catalog", "no_such_catalog").close());
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

  /** The server keeps 200 sessions and 200 prepared statements here: leaving them behind fails soon. */
  @Test
  void a_thousand_connections_leave_nothing_behind() throws Exception {
    // What the server opens once, it has opened after these.
    openAndClose(0, 20);
    boolean watched = Server.optional("POLYNYA_JDBC_SERVER_PID") != null;
    int before = watched ? Server.openFiles() : 0;
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try {
      List<Callable<Void>> parts = new ArrayList<>();
      for (int first = 0; first < 1000; first += 250) {
        int number = first;
        parts.add(() -> openAndClose(number, 250));
      }
      for (Future<Void> part : threads.invokeAll(parts)) {
        part.get();
      }
    } finally {
      threads.shutdownNow();
    }
    try (Connection connection = Server.connect()) {
      String running = "SELECT count(*) FROM system.queries WHERE state IN ('PLANNING', 'QUEUED', 'RUNNING')";
      assertTrue(Server.number(connection, running) <= 1, "only the query that counts runs");
    }
    for (int i = 0; watched && Server.openFiles() > before + 10; i++) {
      assertTrue(i < 100, "the server had " + before + " open files before, and after 10 s has " + Server.openFiles());
      Thread.sleep(100);
    }
  }

  private static Void openAndClose(int first, int count) throws SQLException {
    for (int number = first; number < first + count; number++) {
      boolean named = isNamed(number);
      Connection connection = named ? Server.connect("catalog", Server.CATALOG) : byTokenOrAsNobody();
      try (Statement statement = connection.createStatement();
          ResultSet rows = statement.executeQuery("SELECT " + number)) {
        assertTrue(rows.next());
        assertEquals(number, rows.getInt(1));
      } finally {
        if (named) {
          Server.closeNamed(connection);
        } else {
          connection.close();
        }
      }
    }
    return null;
  }

  /**
   * Whether a connection names its catalog. The driver closes the session of no other: what began with a password, and nothing
   * else, is then kept by the server until it was idle for long enough, as docs/clients/jdbc.md says.
   */
  private static boolean isNamed(int number) {
    return number % 2 == 0 || Server.optional("POLYNYA_JDBC_USER") != null && Server.optional("POLYNYA_JDBC_TOKEN") == null;
  }

  private static Connection byTokenOrAsNobody() throws SQLException {
    String token = Server.optional("POLYNYA_JDBC_TOKEN");
    return token == null ? Server.connect() : Server.connectShowing("token", token);
  }

  @Test
  void a_wrong_password_is_refused() {
    String user = Server.optional("POLYNYA_JDBC_USER");
    assumeTrue(user != null, "the server has no users");
    for (String name : List.of(user, "nobody")) {
      SQLException error =
          assertThrows(SQLException.class, () -> Server.connectShowing("user", name, "password", "not the password").close());
      assertTrue(everything(error).contains("the user's name or the password is wrong"), everything(error));
    }
  }

  @Test
  void nobody_is_refused() {
    assumeTrue(Server.optional("POLYNYA_JDBC_USER") != null || Server.optional("POLYNYA_JDBC_TOKEN") != null,
        "the server asks nobody");
    Exception error = assertThrows(Exception.class, () -> {
      try (Connection connection = Server.connectShowing()) {
        Server.number(connection, "SELECT 1");
      }
    });
    assertTrue(everything(error).contains("asks who is calling"), everything(error));
  }

  @Test
  void a_password_and_a_token_say_who_is_calling() throws Exception {
    String token = Server.optional("POLYNYA_JDBC_TOKEN");
    assumeTrue(Server.optional("POLYNYA_JDBC_USER") != null && token != null, "the server knows no user or no token");
    try (Connection connection = Server.connect();
        Connection other = Server.connectShowing("token", token)) {
      Server.number(connection, "SELECT 1 AS by_password");
      Server.number(other, "SELECT 1 AS by_token");
      List<String> users = new ArrayList<>();
      for (String marker : List.of("by_password", "by_token")) {
        try (Statement statement = other.createStatement();
            ResultSet rows = statement.executeQuery(
                "SELECT DISTINCT \"user\" AS name FROM system.queries WHERE statement = 'SELECT 1 AS " + marker + "'")) {
          users.addAll(Server.texts(rows, "name"));
        }
      }
      assertEquals(2, users.size(), users.toString());
      assertEquals(Server.optional("POLYNYA_JDBC_USER"), users.get(0));
      assertNotEquals(users.get(0), users.get(1));
    }
  }

  @Test
  void a_wrong_token_is_refused() {
    assumeTrue(Server.optional("POLYNYA_JDBC_TOKEN") != null, "the server knows no token");
    SQLException error =
        assertThrows(SQLException.class, () -> Server.connectShowing("token", "not-a-token-of-this-server").close());
    assertTrue(everything(error).contains("the token is not valid here"), everything(error));
  }

  @Test
  void a_certificate_of_an_unknown_authority_is_refused() {
    assumeTrue(Server.optional("POLYNYA_JDBC_TLS_ROOTS") != null, "the server has no certificate, or a known one");
    Properties properties = new Properties();
    properties.setProperty("user", "nobody");
    properties.setProperty("password", "never sent");
    SQLException error =
        assertThrows(SQLException.class, () -> DriverManager.getConnection(Server.URL, properties).close());
    assertTrue(everything(error).toLowerCase(Locale.ROOT).contains("cert"), everything(error));
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
