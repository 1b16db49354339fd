package polynya;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import org.junit.jupiter.api.Test;

/** Queries that would take for ever end when their user has had enough, on the server too. */
class ControlTest {
  private static String silent(String marker) {
    return "SELECT sum(value % 7) AS " + marker + " FROM generate_series(1, 1000000000000)";
  }

  private static String talkative(String marker) {
    return "SELECT a.value AS " + marker + ", b.value FROM generate_series(1, 1000) a "
        + "CROSS JOIN generate_series(1, 1000000000) b";
  }

  @Test
  void a_query_ends_at_its_timeout() {
    assertTimeoutPreemptively(Duration.ofSeconds(30), () -> {
      try (Connection connection = Server.connect(); Connection watcher = Server.connect()) {
        try (Statement statement = connection.createStatement()) {
          statement.setQueryTimeout(1);
          assertThrows(SQLException.class, () -> drain(statement.executeQuery(silent("timed_out"))));
        }
        connection.close();
        Server.awaitEnd(watcher, "timed_out");
      }
    });
  }

  @Test
  void the_servers_own_timeout_is_told_as_such() {
    assertTimeoutPreemptively(Duration.ofSeconds(30), () -> {
      try (Connection connection = Server.connect(); Statement statement = connection.createStatement()) {
        statement.executeUpdate("SET polynya.statement_timeout = '500ms'");
        Throwable error = assertThrows(Exception.class, () -> drain(statement.executeQuery(silent("server_timeout"))));
        assertTrue(ConnectTest.everything(error).contains("statement_timeout"), ConnectTest.everything(error));
      }
    });
  }

  @Test
  void a_query_is_cancelled_from_another_thread() {
    assertTimeoutPreemptively(Duration.ofSeconds(30), () -> {
      try (Connection connection = Server.connect(); Connection watcher = Server.connect();
          Statement statement = connection.createStatement()) {
        ResultSet rows = statement.executeQuery(talkative("cancelled"));
        assertTrue(rows.next());
        Thread other = new Thread(() -> {
          try {
            Thread.sleep(500);
            statement.cancel();
          } catch (Exception error) {
            throw new IllegalStateException(error);
          }
        });
        other.start();
        // The driver reports the end of a cancelled stream as an SQLException or as Flight's own.
        assertThrows(Exception.class, () -> drain(rows));
        other.join();
        Server.awaitEnd(watcher, "cancelled");
      }
    });
  }

  @Test
  void a_closed_result_stops_its_query() {
    assertTimeoutPreemptively(Duration.ofSeconds(30), () -> {
      try (Connection connection = Server.connect(); Connection watcher = Server.connect()) {
        try (Statement statement = connection.createStatement();
            ResultSet rows = statement.executeQuery(talkative("left_behind"))) {
          assertTrue(rows.next());
        }
        Server.awaitEnd(watcher, "left_behind");
      }
    });
  }

  private static void drain(ResultSet rows) throws SQLException {
    while (rows.next()) {
      rows.getObject(1);
    }
  }
}
