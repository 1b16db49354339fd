package polynya;

import java.io.File;
import java.nio.file.Path;
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

  /** The folder of the whole repository: the tests run in {@code sqllogictests/jdbc}. */
  static final Path REPOSITORY = Path.of("").toAbsolutePath().getParent().getParent();

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

  /** A connection of the user that the environment names, with further properties as name, value, name, value. */
  static Connection connect(String... more) throws SQLException {
    List<String> shown = new ArrayList<>();
    if (optional("POLYNYA_JDBC_USER") != null) {
      shown.addAll(List.of("user", required("POLYNYA_JDBC_USER"), "password", required("POLYNYA_JDBC_PASSWORD")));
    } else if (optional("POLYNYA_JDBC_TOKEN") != null) {
      shown.addAll(List.of("token", required("POLYNYA_JDBC_TOKEN")));
    }
    shown.addAll(List.of(more));
    return connectShowing(shown.toArray(new String[0]));
  }

  /** A connection that shows the server no more than these properties. */
  static Connection connectShowing(String... shown) throws SQLException {
    Properties properties = new Properties();
    if (optional("POLYNYA_JDBC_TLS_ROOTS") != null) {
      properties.setProperty("tlsRootCerts", optional("POLYNYA_JDBC_TLS_ROOTS"));
    }
    for (int i = 0; i < shown.length; i += 2) {
      properties.setProperty(shown[i], shown[i + 1]);
    }
    return DriverManager.getConnection(URL, properties);
  }

  /**
   * Closes a connection that named its catalog. Up to 18.3 the driver closes such a one twice, and complains the second time that it has
   * closed its channel already (arrow-java, issue 66).
   */
  static void closeNamed(Connection connection) throws SQLException {
    try {
      connection.close();
    } catch (SQLException error) {
      String message = ConnectTest.everything(error);
      if (!message.contains("shutdown") && !message.contains("SynchronizationContext")) {
        throw error;
      }
    }
  }

  /** Files and sockets that the server's process has open. */
  static int openFiles() {
    String[] files = new File("/proc/" + required("POLYNYA_JDBC_SERVER_PID") + "/fd").list();
    if (files == null) {
      throw new AssertionError("the server's process is not on this machine, or is another user's");
    }
    return files.length;
  }

  static String table(String name) {
    return CATALOG + "." + SCHEMA + "." + name;
  }

  static void update(Connection connection, String... statements) throws SQLException {
    for (String sql : statements) {
      // The driver forgets to close what a statement ran before.
      try (Statement statement = connection.createStatement()) {
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

  /** Waits until the queries whose text holds the marker have ended; there must have been one. */
  static void awaitEnd(Connection connection, String marker) throws Exception {
    String all = "SELECT count(*) FROM system.queries WHERE statement LIKE '%" + marker + "%' AND statement NOT LIKE '%system.queries%'";
    if (number(connection, all) == 0) {
      throw new AssertionError("the server knows of no query with " + marker);
    }
    for (int i = 0; i < 100; i++) {
      if (number(connection, all + " AND state IN ('PLANNING', 'QUEUED', 'RUNNING')") == 0) {
        return;
      }
      Thread.sleep(100);
    }
    throw new AssertionError("after 10 s the server still runs " + marker);
  }
}
