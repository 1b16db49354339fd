package polynya;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What DBeaver and Tableau ask before they show anything. */
class MetadataTest {
  private static Connection connection;
  private static DatabaseMetaData metadata;

  @BeforeAll
  static void connect() throws Exception {
    connection = Server.connect();
    metadata = connection.getMetaData();
    Server.update(connection, "DROP TABLE IF EXISTS " + Server.table("meta_data"),
        "DROP TABLE IF EXISTS " + Server.table("metaXdata"),
        "CREATE TABLE " + Server.table("meta_data")
            + " (id bigint NOT NULL, price decimal(10, 2), name varchar, day date, noted_at timestamp, tags array<varchar>)",
        "CREATE TABLE " + Server.table("metaXdata") + " (a int)",
        "INSERT INTO " + Server.table("meta_data") + " (id, price, name) VALUES (1, 9.99, 'one')");
  }

  @AfterAll
  static void close() throws Exception {
    Server.update(connection, "DROP TABLE " + Server.table("meta_data"), "DROP TABLE " + Server.table("metaXdata"));
    connection.close();
  }

  @Test
  void the_product_has_a_name_and_a_version() throws Exception {
    assertEquals("Polynya", metadata.getDatabaseProductName());
    assertFalse(metadata.getDatabaseProductVersion().isEmpty());
    assertEquals("\"", metadata.getIdentifierQuoteString());
    assertEquals("catalog", metadata.getCatalogTerm());
    assertFalse(metadata.isReadOnly());
    assertFalse(metadata.supportsTransactions());
    assertTrue(metadata.supportsUnion() && metadata.supportsOuterJoins() && metadata.supportsGroupBy());
    // The driver looks JDBC's numbers of types up in Flight SQL's: what it says means nothing, but it must not fail.
    metadata.supportsConvert(Types.VARCHAR, Types.INTEGER);
    assertEquals(Connection.TRANSACTION_NONE, metadata.getDefaultTransactionIsolation());
  }

  /** A driver that misses a SqlInfo value, or finds one of another type, fails in the getter that reads it. */
  @Test
  void every_getter_without_arguments_is_answered() throws Exception {
    List<String> failures = new ArrayList<>();
    for (Method method : DatabaseMetaData.class.getMethods()) {
      if (method.getParameterCount() > 0 || method.getDeclaringClass() != DatabaseMetaData.class) {
        continue;
      }
      try {
        Object value = method.invoke(metadata);
        if (value instanceof ResultSet) {
          ((ResultSet) value).close();
        }
      } catch (InvocationTargetException error) {
        if (isOurs(error.getCause())) {
          failures.add(method.getName() + ": " + ConnectTest.everything(error.getCause()));
        }
      }
    }
    assertTrue(failures.isEmpty(), String.join("\n", failures));
  }

  /** What the driver itself does not offer is no fault of the server's. */
  private static boolean isOurs(Throwable error) {
    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
      if (cause.getClass().getName().endsWith("FlightRuntimeException")) {
        return true;
      }
      boolean wrongValue = cause instanceof NullPointerException || cause instanceof ClassCastException;
      for (StackTraceElement element : cause.getStackTrace()) {
        if (wrongValue && element.getClassName().endsWith("ArrowDatabaseMetadata")) {
          return true;
        }
      }
    }
    return false;
  }

  @Test
  void catalogs_schemas_and_table_types_are_listed() throws Exception {
    try (ResultSet rows = metadata.getCatalogs()) {
      assertTrue(Server.texts(rows, "TABLE_CAT").contains(Server.CATALOG));
    }
    try (ResultSet rows = metadata.getSchemas()) {
      assertTrue(Server.texts(rows, "TABLE_SCHEM").contains(Server.SCHEMA));
    }
    try (ResultSet rows = metadata.getSchemas(Server.CATALOG, Server.SCHEMA)) {
      assertEquals(List.of(Server.SCHEMA), Server.texts(rows, "TABLE_SCHEM"));
    }
    try (ResultSet rows = metadata.getSchemas("no_such_catalog", "%")) {
      assertFalse(rows.next());
    }
    try (ResultSet rows = metadata.getTableTypes()) {
      assertTrue(Server.texts(rows, "TABLE_TYPE").contains("TABLE"));
    }
  }

  @Test
  void tables_are_found_by_patterns_and_types() throws Exception {
    try (ResultSet rows = metadata.getTables(null, null, "%", null)) {
      assertTrue(Server.texts(rows, "TABLE_NAME").contains("meta_data"));
    }
    String[] tables = {"TABLE", "VIEW"};
    try (ResultSet rows = metadata.getTables(Server.CATALOG, Server.SCHEMA, "meta%data", tables)) {
      assertEquals(2, Server.texts(rows, "TABLE_NAME").size());
    }
    String escaped = "meta" + metadata.getSearchStringEscape() + "_data";
    try (ResultSet rows = metadata.getTables(Server.CATALOG, Server.SCHEMA, escaped, tables)) {
      assertEquals(List.of("meta_data"), Server.texts(rows, "TABLE_NAME"));
    }
    try (ResultSet rows = metadata.getTables(Server.CATALOG, Server.SCHEMA, "%", new String[] {"VIEW"})) {
      assertFalse(rows.next());
    }
  }

  @Test
  void columns_have_types_sizes_and_nullability() throws Exception {
    List<String> found = new ArrayList<>();
    try (ResultSet rows = metadata.getColumns(Server.CATALOG, Server.SCHEMA, "meta\\_data", "%")) {
      while (rows.next()) {
        found.add(rows.getString("COLUMN_NAME") + " " + rows.getInt("DATA_TYPE") + " " + rows.getString("TYPE_NAME")
            + " " + rows.getString("IS_NULLABLE") + " " + rows.getInt("ORDINAL_POSITION"));
        if (rows.getString("COLUMN_NAME").equals("price")) {
          assertEquals(10, rows.getInt("COLUMN_SIZE"));
          assertEquals(2, rows.getInt("DECIMAL_DIGITS"));
        }
      }
    }
    try (ResultSet rows = metadata.getColumns(null, Server.SCHEMA, "meta\\_data", "%a%")) {
      assertEquals(List.of("name", "day", "noted_at", "tags"), Server.texts(rows, "COLUMN_NAME"));
    }
    assertEquals(List.of("id " + Types.BIGINT + " BIGINT NO 1", "price " + Types.DECIMAL + " DECIMAL YES 2",
        "name " + Types.VARCHAR + " VARCHAR YES 3", "day " + Types.DATE + " DATE YES 4",
        "noted_at " + Types.TIMESTAMP + " TIMESTAMP YES 5", "tags " + Types.ARRAY + " ARRAY YES 6"), found);
  }

  @Test
  void there_are_no_keys() throws Exception {
    String catalog = Server.CATALOG;
    String schema = Server.SCHEMA;
    try (ResultSet rows = metadata.getPrimaryKeys(catalog, schema, "meta_data")) {
      assertFalse(rows.next());
    }
    try (ResultSet rows = metadata.getImportedKeys(catalog, schema, "meta_data")) {
      assertFalse(rows.next());
    }
    try (ResultSet rows = metadata.getExportedKeys(catalog, schema, "meta_data")) {
      assertFalse(rows.next());
    }
    try (ResultSet rows = metadata.getCrossReference(catalog, schema, "meta_data", catalog, schema, "metaXdata")) {
      assertFalse(rows.next());
    }
  }

  @Test
  void columns_of_a_result_are_described() throws Exception {
    try (Statement statement = connection.createStatement();
        ResultSet rows = statement.executeQuery("SELECT price, name AS label FROM " + Server.table("meta_data"))) {
      described(rows.getMetaData());
    }
  }

  /**
   * How Tableau learns the columns of a query of its user. Up to 18.3 the driver lists them twice where a java.sql.Statement finds no
   * rows (arrow-java, issue 44), and once where a statement was prepared.
   */
  @Test
  void columns_are_described_before_there_are_rows() throws Exception {
    String sql = "SELECT * FROM (SELECT price, name AS label FROM " + Server.table("meta_data") + ") AS custom WHERE 1 = 0";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      described(statement.getMetaData());
      assertEquals(0, statement.getParameterMetaData().getParameterCount());
      try (ResultSet rows = statement.executeQuery()) {
        assertFalse(rows.next());
      }
    }
  }

  private static void described(ResultSetMetaData columns) throws Exception {
    assertEquals(2, columns.getColumnCount());
    assertEquals("price", columns.getColumnName(1));
    assertEquals("label", columns.getColumnLabel(2));
    assertEquals(Types.DECIMAL, columns.getColumnType(1));
    assertEquals(10, columns.getPrecision(1));
    assertEquals(2, columns.getScale(1));
    assertEquals(Types.VARCHAR, columns.getColumnType(2));
    assertTrue(columns.isCaseSensitive(2));
  }

  @Test
  void the_state_of_a_connection_is_told() throws Exception {
    connection.setAutoCommit(true);
    assertTrue(connection.getAutoCommit());
    assertEquals(Connection.TRANSACTION_NONE, connection.getTransactionIsolation());
    assertNull(connection.getWarnings());
    assertFalse(connection.isClosed());
  }
}
