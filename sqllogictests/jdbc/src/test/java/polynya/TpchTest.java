package polynya;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** TPC-H's queries give through JDBC what they give through ADBC. */
class TpchTest {
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22})
  void query(int number) throws Exception {
    String folder = Server.optional("POLYNYA_JDBC_TPCH");
    assumeTrue(folder != null, "there are no tables of TPC-H");
    String name = String.format(Locale.ROOT, "q%02d", number);
    String sql = Files.readString(Path.of(folder, name + ".sql"));
    List<String> expected = Files.readAllLines(Path.of(folder, name + ".rows"));
    List<String> found = new ArrayList<>();
    try (Connection connection = Server.connect();
        Statement statement = connection.createStatement()) {
      statement.executeUpdate("USE " + Server.required("POLYNYA_JDBC_TPCH_SCHEMA"));
      try (ResultSet rows = statement.executeQuery(sql)) {
        int columns = rows.getMetaData().getColumnCount();
        while (rows.next()) {
          List<String> row = new ArrayList<>();
          for (int i = 1; i <= columns; i++) {
            row.add(text(rows.getObject(i)));
          }
          found.add(String.join("|", row));
        }
      }
    }
    // Rows that the ORDER BY does not tell apart may come in any order.
    Collections.sort(found);
    Collections.sort(expected);
    assertEquals(String.join("\n", expected), String.join("\n", found));
  }

  /** As interop/test_jdbc.py writes the answers that it expects. */
  private static String text(Object value) {
    if (value == null) {
      return "NULL";
    }
    if (value instanceof BigDecimal) {
      return ((BigDecimal) value).toPlainString();
    }
    if (value instanceof Double || value instanceof Float) {
      return String.format(Locale.ROOT, "%.4f", ((Number) value).doubleValue());
    }
    return value.toString();
  }
}
