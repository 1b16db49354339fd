package polynya;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/** The server under test, as the environment names it, and the few things that every test does with it. */
final class Server {
  /** Such as {@code jdbc:arrow-flight-sql://127.0.0.1:50051/?useEncryption=false}. */
  static final String URL = required("POLYNYA_JDBC_URL");

  /** A catalog and a schema in it that the tests may write to. */
  static final String CATALOG = required("POLYNYA_JDBC_CATALOG");

  static final String SCHEMA = required("POLYNYA_JDBC_SCHEMA");

  private Server() {}

  static String required(String name) {
    String value = System.getenv(name);
    if (value == null || value.isEmpty()) {
      throw new IllegalStateException(name + " is not set: run these tests with cargo xtask test --only interop");
    }
    return value;
  }

  /** A setting that only some servers have: users, tokens, TLS. */
  static String optional(String name) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? null : value;
  }

  /** What proves who we are, if the server wants to know. */
  static Properties credentials() {
    Properties properties = new Properties();
    put(properties, "user", optional("POLYNYA_JDBC_USER"));
    put(properties, "password", optional("POLYNYA_JDBC_PASSWORD"));
    if (!properties.containsKey("user")) {
      put(properties, "token", optional("POLYNYA_JDBC_TOKEN"));
    }
    put(properties, "tlsRootCerts", optional("POLYNYA_JDBC_TLS_ROOTS"));
    return properties;
  }

  private static void put(Properties properties, String name, String value) {
    if (value != null) {
      properties.setProperty(name, value);
    }
  }

  /** A connection, with further properties as name, value, name, value. */
  static Connection connect(String... more) throws SQLException {
    Properties properties = credentials();
    for (int i = 0; i < more.length; i += 2) {
      properties.setProperty(more[i], more[i + 1]);
    }
    return DriverManager.getConnection(URL, properties);
  }

  static String table(String name) {
    return CATALOG + "." + SCHEMA + "." + name;
  }

  static void update(Connection connection, String... statements) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      for (String sql : statements) {
        statement.executeUpdate(sql);
      }
    }
  }

  /** The only value of a query that gives one number. */
  static long number(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement();
        ResultSet rows = statement.executeQuery(sql)) {
      if (!rows.next()) {
        throw new AssertionError("no row: " + sql);
      }
      return rows.getLong(1);
    }
  }

  /** One column of a result, as text. */
  static List<String> texts(ResultSet rows, String column) throws SQLException {
    List<String> found = new ArrayList<>();
    while (rows.next()) {
      found.add(rows.getString(column));
    }
    return found;
  }

  /** Waits until no query runs whose text holds the marker. */
  static void awaitEnd(Connection connection, String marker) throws Exception {
    String sql =
        "SELECT count(*) FROM system.queries WHERE state IN ('PLANNING', 'QUEUED', 'RUNNING') AND statement LIKE '%"
            + marker + "%' AND statement NOT LIKE '%system.queries%'";
    for (int i = 0; i < 100; i++) {
      if (number(connection, sql) == 0) {
        return;
      }
      Thread.sleep(100);
    }
    throw new AssertionError("after 10 s the server still runs " + marker);
  }
}
