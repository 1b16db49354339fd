package polynya;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.sql.Connection;
import java.sql.Date;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Time;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** PreparedStatement with values of each type, with NULL, again and again, and in batches. */
class ParametersTest {
  private static final String TABLE = Server.table("parameters");
  private static final String INSERT = "INSERT INTO " + TABLE + " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  private static final byte[] UUID =
      ByteBuffer.allocate(16).putLong(0xf47ac10b58cc4372L).putLong(0xa5670e02b2c3d479L).array();
  private Connection connection;

  @BeforeEach
  void connect() throws Exception {
    connection = Server.connect();
    Server.update(connection, "DROP TABLE IF EXISTS " + TABLE, "CREATE TABLE " + TABLE
        + " (i int, bo boolean, b bigint, f float, d double, de decimal(10, 2), da date, ti time, ts timestamp, s varchar, "
        + "bi binary, tz timestamptz, u uuid, fx fixed(2))");
  }

  @AfterEach
  void close() throws Exception {
    Server.update(connection, "DROP TABLE " + TABLE);
    connection.close();
  }

  private static void bind(PreparedStatement statement, int id) throws SQLException {
    statement.setInt(1, id);
    statement.setBoolean(2, true);
    statement.setLong(3, 9_000_000_000L);
    statement.setFloat(4, 1.5f);
    statement.setDouble(5, 2.25);
    statement.setBigDecimal(6, new BigDecimal("-12.34"));
    statement.setDate(7, Date.valueOf("2024-02-29"));
    statement.setTime(8, Time.valueOf("13:45:10"));
    statement.setTimestamp(9, Timestamp.valueOf("2024-02-29 13:45:10.25"));
    statement.setString(10, "grüße");
    statement.setBytes(11, new byte[] {0, (byte) 0xff});
    statement.setTimestamp(12, Timestamp.valueOf("2024-02-29 13:45:10.25"));
    statement.setBytes(13, UUID);
    statement.setBytes(14, new byte[] {1, 2});
  }

  @Test
  void a_value_of_each_type_is_stored() throws Exception {
    try (PreparedStatement insert = connection.prepareStatement(INSERT)) {
      assertEquals(14, insert.getParameterMetaData().getParameterCount());
      bind(insert, 1);
      assertEquals(1, insert.executeUpdate());
    }
    try (PreparedStatement select = connection.prepareStatement("SELECT * FROM " + TABLE);
        ResultSet row = select.executeQuery()) {
      assertTrue(row.next());
      assertEquals(1, row.getInt("i"));
      assertTrue(row.getBoolean("bo"));
      assertEquals(9_000_000_000L, row.getLong("b"));
      assertEquals(1.5f, row.getFloat("f"));
      assertEquals(2.25, row.getDouble("d"));
      assertEquals(new BigDecimal("-12.34"), row.getBigDecimal("de"));
      assertEquals("2024-02-29", row.getDate("da").toString());
      assertEquals("13:45:10", row.getTime("ti").toString());
      assertEquals(Timestamp.valueOf("2024-02-29 13:45:10.25"), row.getTimestamp("ts"));
      assertEquals("grüße", row.getString("s"));
      assertArrayEquals(new byte[] {0, (byte) 0xff}, row.getBytes("bi"));
      assertEquals(Timestamp.valueOf("2024-02-29 13:45:10.25"), row.getTimestamp("tz"));
      assertArrayEquals(UUID, row.getBytes("u"));
      assertArrayEquals(new byte[] {1, 2}, row.getBytes("fx"));
    }
  }

  @Test
  void null_of_each_type_is_stored() throws Exception {
    int[] types = {Types.INTEGER, Types.BOOLEAN, Types.BIGINT, Types.REAL, Types.DOUBLE, Types.DECIMAL, Types.DATE,
      Types.TIME, Types.TIMESTAMP, Types.VARCHAR, Types.VARBINARY, Types.TIMESTAMP, Types.BINARY, Types.BINARY};
    try (PreparedStatement insert = connection.prepareStatement(INSERT)) {
      for (int i = 0; i < types.length; i++) {
        insert.setNull(i + 1, types[i]);
      }
      assertEquals(1, insert.executeUpdate());
    }
    try (PreparedStatement select = connection.prepareStatement("SELECT * FROM " + TABLE);
        ResultSet row = select.executeQuery()) {
      assertTrue(row.next());
      for (int i = 1; i <= types.length; i++) {
        // By its name: by its number the driver refuses timestamps with a time zone.
        assertNull(row.getObject(row.getMetaData().getColumnLabel(i)), "column " + i);
      }
    }
  }

  private interface Binding {
    void on(PreparedStatement statement) throws SQLException;
  }

  private void finds(String condition, Binding binding) throws SQLException {
    assertEquals(1, count(condition, binding), condition);
  }

  private long count(String condition, Binding binding) throws SQLException {
    try (PreparedStatement select = connection.prepareStatement("SELECT count(*) FROM " + TABLE + " WHERE " + condition)) {
      binding.on(select);
      try (ResultSet row = select.executeQuery()) {
        assertTrue(row.next());
        return row.getLong(1);
      }
    }
  }

  @Test
  void rows_are_found_by_a_value_of_each_type() throws Exception {
    try (PreparedStatement insert = connection.prepareStatement(INSERT)) {
      bind(insert, 1);
      insert.executeUpdate();
    }
    finds("i = ?", statement -> statement.setInt(1, 1));
    finds("bo = ?", statement -> statement.setBoolean(1, true));
    finds("b = ?", statement -> statement.setLong(1, 9_000_000_000L));
    finds("f = ?", statement -> statement.setFloat(1, 1.5f));
    finds("d < ?", statement -> statement.setDouble(1, 2.5));
    finds("de = ?", statement -> statement.setBigDecimal(1, new BigDecimal("-12.34")));
    finds("da = ?", statement -> statement.setDate(1, Date.valueOf("2024-02-29")));
    finds("ti = ?", statement -> statement.setTime(1, Time.valueOf("13:45:10")));
    finds("ts = ?", statement -> statement.setTimestamp(1, Timestamp.valueOf("2024-02-29 13:45:10.25")));
    finds("s = ?", statement -> statement.setString(1, "grüße"));
    finds("bi = ?", statement -> statement.setBytes(1, new byte[] {0, (byte) 0xff}));
    finds("tz = ?", statement -> statement.setTimestamp(1, Timestamp.valueOf("2024-02-29 13:45:10.25")));
    finds("u = ?", statement -> statement.setBytes(1, UUID));
    finds("fx = ?", statement -> statement.setBytes(1, new byte[] {1, 2}));
    finds("s LIKE ? AND i BETWEEN ? AND ?", statement -> {
      statement.setString(1, "gr%");
      statement.setInt(2, 0);
      statement.setInt(3, 5);
    });
  }

  @Test
  void null_is_equal_to_nothing() throws Exception {
    try (PreparedStatement insert = connection.prepareStatement(INSERT)) {
      bind(insert, 1);
      insert.executeUpdate();
    }
    assertEquals(0, count("i = ?", statement -> statement.setNull(1, Types.INTEGER)));
    assertEquals(0, count("s = ?", statement -> statement.setNull(1, Types.VARCHAR)));
    assertEquals(0, count("ts > ?", statement -> statement.setNull(1, Types.TIMESTAMP)));
  }

  @Test
  void a_statement_is_used_again_with_other_values() throws Exception {
    try (PreparedStatement insert = connection.prepareStatement(INSERT)) {
      for (int id = 0; id < 3; id++) {
        bind(insert, id);
        assertEquals(1, insert.executeUpdate());
      }
    }
    try (PreparedStatement select = connection.prepareStatement("SELECT count(*) FROM " + TABLE + " WHERE i >= ?")) {
      for (int least = 0; least < 3; least++) {
        select.setInt(1, least);
        try (ResultSet row = select.executeQuery()) {
          assertTrue(row.next());
          assertEquals(3 - least, row.getLong(1));
        }
      }
    }
  }

  @Test
  void a_batch_is_stored_whole() throws Exception {
    try (PreparedStatement insert = connection.prepareStatement(INSERT)) {
      for (int id = 0; id < 100; id++) {
        bind(insert, id);
        insert.addBatch();
      }
      // The driver gives one count for the whole batch.
      assertEquals(100, IntStream.of(insert.executeBatch()).sum());
    }
    assertEquals(100, Server.number(connection, "SELECT count(DISTINCT i) FROM " + TABLE));
  }

  @Test
  void a_parameter_without_a_value_is_an_error() throws Exception {
    try (PreparedStatement select = connection.prepareStatement("SELECT count(*) FROM " + TABLE + " WHERE i = ?")) {
      assertThrows(SQLException.class, () -> select.setInt(2, 1), "there is no second parameter");
    }
  }
}
