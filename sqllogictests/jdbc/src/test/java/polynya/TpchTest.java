package polynya;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The 22 queries of TPC-H at scale 0.01, whose answers are stored; benchmarks/answers/README.md says how they are compared. */
class TpchTest {
  private static final Path BENCHMARKS = Server.REPOSITORY.resolve("benchmarks");

  static IntStream numbers() {
    return IntStream.rangeClosed(1, 22);
  }

  @ParameterizedTest
  @MethodSource("numbers")
  void query(int number) throws Exception {
    String schema = Server.optional("POLYNYA_JDBC_TPCH_SCHEMA");
    assumeTrue(schema != null, "there are no tables of TPC-H");
    String name = String.format(Locale.ROOT, "q%02d", number);
    String sql = Files.readString(BENCHMARKS.resolve("queries/" + name + ".sql"));
    List<Object[]> found = new ArrayList<>();
    try (Connection connection = Server.connect()) {
      Server.update(connection, "USE " + schema);
      try (Statement statement = connection.createStatement();
          ResultSet rows = statement.executeQuery(sql)) {
        Object[] row = new Object[rows.getMetaData().getColumnCount()];
        while (rows.next()) {
          for (int i = 0; i < row.length; i++) {
            row[i] = rows.getObject(i + 1);
          }
          found.add(row.clone());
        }
      }
    }
    check(Files.readAllLines(BENCHMARKS.resolve("answers/sf0.01/" + name + ".csv")), sortColumns(sql), found);
  }

  /** Compares rows with an answer. Those that ORDER BY does not tell apart may come in any order. */
  private static void check(List<String> answer, List<String> sortColumns, List<Object[]> found) {
    String[] columns = cells(answer.get(0));
    List<String[]> expected = answer.stream().skip(1).map(TpchTest::cells).toList();
    assertEquals(expected.size(), found.size(), "rows");
    int first = 0;
    while (first < expected.size()) {
      String key = key(columns, sortColumns, expected.get(first));
      int end = first;
      while (end < expected.size() && key(columns, sortColumns, expected.get(end)).equals(key)) {
        end++;
      }
      List<Object[]> left = new ArrayList<>(found.subList(first, end));
      for (String[] row : expected.subList(first, end)) {
        int index = IntStream.range(0, left.size()).filter(i -> same(columns, row, left.get(i))).findFirst().orElse(-1);
        assertTrue(index >= 0, () -> "expected " + Arrays.toString(row) + " among " + Arrays.deepToString(left.toArray()));
        left.remove(index);
      }
      first = end;
    }
  }

  /** A column's header is its name and type; an empty cell is NULL, in quotes if it is alone in its row. */
  private static String[] cells(String line) {
    return line.equals("\"\"") ? new String[] {""} : line.split("\\|", -1);
  }

  private static List<String> sortColumns(String sql) {
    List<String> clauses = sql.lines().filter(line -> line.startsWith("ORDER BY ")).toList();
    if (clauses.isEmpty()) {
      return List.of();
    }
    String last = clauses.get(clauses.size() - 1).substring("ORDER BY ".length());
    return Arrays.stream(last.split(",")).map(term -> term.strip().split(" ")[0]).toList();
  }

  private static String key(String[] columns, List<String> sortColumns, String[] row) {
    StringBuilder key = new StringBuilder();
    for (int i = 0; i < columns.length; i++) {
      if (sortColumns.contains(columns[i].split(":")[0])) {
        key.append(row[i]).append('|');
      }
    }
    return key.toString();
  }

  private static boolean same(String[] columns, String[] expected, Object[] found) {
    boolean same = columns.length == found.length;
    for (int i = 0; same && i < columns.length; i++) {
      same = sameValue(columns[i].split(":")[1], expected[i], found[i]);
    }
    return same;
  }

  private static boolean sameValue(String type, String expected, Object found) {
    if (expected.isEmpty() || found == null) {
      return expected.isEmpty() && found == null;
    }
    if (!(found instanceof Number)) {
      return expected.equals(found.toString());
    }
    BigDecimal number = new BigDecimal(found.toString());
    if (!type.equals("double")) {
      return new BigDecimal(expected).compareTo(number) == 0;
    }
    // A server that computes averages in decimals may be off by one unit of the last digit.
    double unit = found instanceof BigDecimal ? Math.min(number.ulp().doubleValue(), 0.01) : 0;
    double wanted = Double.parseDouble(expected);
    double size = Math.max(Math.abs(wanted), Math.abs(number.doubleValue()));
    return Math.abs(wanted - number.doubleValue()) <= Math.max(unit, 1e-9 * size);
  }
}
