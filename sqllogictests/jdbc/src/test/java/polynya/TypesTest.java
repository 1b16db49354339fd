package polynya;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.Statement;
import java.sql.Time;
import java.sql.Timestamp;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Every type of docs/types.md, by getObject and by its own getter, and NULL of each. */
class TypesTest {
  private static final List<String> COLUMNS = List.of("bo", "i", "b", "f", "d", "de", "big", "da", "ti", "ts", "tz", "s",
      "u", "fx", "bi", "st", "ar", "ma");
  private static Connection connection;
  private static Statement statement;

  @BeforeAll
  static void connect() throws Exception {
    connection = Server.connect();
    statement = connection.createStatement();
    String table = Server.table("types");
    Server.update(connection, "DROP TABLE IF EXISTS " + table, "CREATE TABLE " + table
        + " (id int NOT NULL, bo boolean, i int, b bigint, f float, d double, de decimal(10, 2), big decimal(38, 10), "
        + "da date, ti time, ts timestamp, tz timestamptz, s varchar, u uuid, fx fixed(4), bi binary, "
        + "st struct<a int, b varchar>, ar array<int>, ma map<varchar, int>)",
        "INSERT INTO " + table + " VALUES (1, true, 7, 9000000000, 1.5, 2.25, -12.34, "
        + "1234567890123456789.0123456789, DATE '2024-02-29', '13:45:10', '2024-02-29 13:45:10.25', "
        + "'2024-02-29T13:45:10.25Z', 'grüße', 'f47ac10b-58cc-4372-a567-0e02b2c3d479', X'deadbeef', X'00ff', "
        + "named_struct('a', 1, 'b', 'x'), [1, NULL, 3], MAP {'k': 1})",
        "INSERT INTO " + table + " (id) VALUES (2)");
  }

  @AfterAll
  static void close() throws Exception {
    statement.close();
    Server.update(connection, "DROP TABLE " + Server.table("types"));
    connection.close();
  }

  private interface Check {
    void on(ResultSet row) throws Exception;
  }

  private static void row(int id, Check check) throws Exception {
    try (ResultSet rows = statement.executeQuery("SELECT * FROM " + Server.table("types") + " WHERE id = " + id)) {
      assertTrue(rows.next());
      check.on(rows);
      assertFalse(rows.next());
    }
  }

  @Test
  void numbers_and_booleans() throws Exception {
    row(1, row -> {
      assertEquals(true, row.getObject("bo"));
      assertTrue(row.getBoolean("bo"));
      assertEquals(7, row.getObject("i"));
      assertEquals(7, row.getInt("i"));
      assertEquals(9_000_000_000L, row.getObject("b"));
      assertEquals(9_000_000_000L, row.getLong("b"));
      assertEquals(1.5, ((Number) row.getObject("f")).doubleValue());
      assertEquals(1.5f, row.getFloat("f"));
      assertEquals(2.25, row.getObject("d"));
      assertEquals(2.25, row.getDouble("d"));
      assertEquals(new BigDecimal("-12.34"), row.getObject("de"));
      assertEquals(new BigDecimal("-12.34"), row.getBigDecimal("de"));
      assertEquals(new BigDecimal("1234567890123456789.0123456789"), row.getObject("big"));
      assertEquals(new BigDecimal("1234567890123456789.0123456789"), row.getBigDecimal("big"));
    });
  }

  @Test
  void text_and_bytes() throws Exception {
    row(1, row -> {
      assertEquals("grüße", row.getObject("s"));
      assertEquals("grüße", row.getString("s"));
      assertArrayEquals(new byte[] {(byte) 0xde, (byte) 0xad, (byte) 0xbe, (byte) 0xef}, row.getBytes("fx"));
      assertArrayEquals(new byte[] {0, (byte) 0xff}, row.getBytes("bi"));
      byte[] uuid = ByteBuffer.allocate(16).putLong(0xf47ac10b58cc4372L).putLong(0xa5670e02b2c3d479L).array();
      assertArrayEquals(uuid, row.getBytes("u"));
      assertArrayEquals(uuid, (byte[]) row.getObject("u"));
      assertArrayEquals(new byte[] {(byte) 0xde, (byte) 0xad, (byte) 0xbe, (byte) 0xef}, (byte[]) row.getObject("fx"));
      assertArrayEquals(new byte[] {0, (byte) 0xff}, (byte[]) row.getObject("bi"));
    });
  }

  @Test
  void dates_and_times() throws Exception {
    row(1, row -> {
      assertEquals("2024-02-29", row.getObject("da").toString());
      assertEquals("2024-02-29", row.getDate("da").toString());
      assertEquals("13:45:10", row.getTime("ti").toString());
      assertEquals("13:45:10", assertInstanceOf(Time.class, row.getObject("ti")).toString());
      assertEquals(Timestamp.valueOf("2024-02-29 13:45:10.25"), row.getTimestamp("ts"));
      assertEquals(Timestamp.valueOf("2024-02-29 13:45:10.25"), row.getObject("ts"));
      assertEquals(Instant.parse("2024-02-29T13:45:10.25Z"), row.getTimestamp("tz").toInstant());
      assertEquals(Instant.parse("2024-02-29T13:45:10.25Z"), assertInstanceOf(Timestamp.class, row.getObject("tz")).toInstant());
    });
    // Types that tables of format version 2 do not have come from expressions.
    try (ResultSet rows = statement.executeQuery("SELECT arrow_cast('2024-02-29T13:45:10.123456789', 'Timestamp(Nanosecond, None)') AS c1, "
        + "arrow_cast('2024-02-29T13:45:10.123456789Z', 'Timestamp(Nanosecond, Some(\"UTC\"))') AS c2")) {
      assertTrue(rows.next());
      for (int column = 1; column <= 2; column++) {
        assertEquals(Timestamp.valueOf("2024-02-29 13:45:10.123456789"), rows.getTimestamp(column));
        // By its name: by its number the driver refuses timestamps with a time zone.
        assertEquals(Timestamp.valueOf("2024-02-29 13:45:10.123456789"), rows.getObject("c" + column));
      }
    }
  }

  @Test
  void every_type_by_the_number_of_its_column() throws Exception {
    // The driver refuses timestamps with a time zone by number; a parameter of the URL has the server send them without.
    try (Connection connection = Server.connect("polynya.wire_timestamptz", "utc");
        Statement statement = connection.createStatement();
        ResultSet rows = statement.executeQuery("SELECT " + String.join(", ", COLUMNS) + " FROM "
            + Server.table("types") + " ORDER BY id")) {
      for (boolean isNull : new boolean[] {false, true}) {
        assertTrue(rows.next());
        for (int column = 1; column <= COLUMNS.size(); column++) {
          assertEquals(isNull, rows.getObject(column) == null, COLUMNS.get(column - 1));
        }
        Timestamp expected = isNull ? null : Timestamp.valueOf("2024-02-29 13:45:10.25");
        assertEquals(expected, rows.getObject(COLUMNS.indexOf("tz") + 1));
      }
    }
  }

  @Test
  void nested_values() throws Exception {
    row(1, row -> {
      Object[] array = (Object[]) row.getArray("ar").getArray();
      assertEquals(Arrays.asList(1, null, 3), Arrays.asList(array));
      assertEquals(Arrays.asList(1, null, 3), row.getObject("ar"));
      // Text inside of nested values is Arrow's own class.
      Map<?, ?> struct = assertInstanceOf(Map.class, row.getObject("st"));
      assertEquals(1, struct.get("a"));
      assertEquals("x", struct.get("b").toString());
      Map<?, ?> map = assertInstanceOf(Map.class, row.getObject("ma"));
      assertEquals("k", map.keySet().iterator().next().toString());
      assertEquals(1, map.values().iterator().next());
    });
  }

  @Test
  void null_of_each_type() throws Exception {
    row(2, row -> {
      for (String column : COLUMNS) {
        assertNull(row.getObject(column), column);
        assertTrue(row.wasNull(), column);
      }
      assertEquals(0, row.getInt("i"));
      assertTrue(row.wasNull());
      assertNull(row.getString("s"));
      assertNull(row.getTimestamp("ts"));
      assertNull(row.getBigDecimal("de"));
    });
  }

  @Test
  void large_results_come_whole() throws Exception {
    long sum = 0;
    try (ResultSet rows = statement.executeQuery("SELECT value, repeat('x', 100) FROM generate_series(1, 100000)")) {
      while (rows.next()) {
        sum += rows.getLong(1) + rows.getString(2).length();
      }
    }
    assertEquals(100_000L * 100_001 / 2 + 100_000L * 100, sum);
  }
}
