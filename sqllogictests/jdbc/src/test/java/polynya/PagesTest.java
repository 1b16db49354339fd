package polynya;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.Driver;
import java.sql.DriverManager;
import java.util.Properties;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the pages about JDBC and DBeaver say to write, on a server without users and encryption as in the pages. */
class PagesTest {
  /** Host and port of that server. */
  private static final String PLAIN = Server.optional("POLYNYA_JDBC_PLAIN");

  @BeforeAll
  static void fill() throws Exception {
    assumeTrue(PLAIN != null, "there is no server without users and encryption");
    try (Connection connection = connect()) {
      Server.update(connection, "CREATE SCHEMA lake.shop",
          "CREATE TABLE lake.shop.orders (id bigint NOT NULL, day date, amount decimal(10, 2))",
          "INSERT INTO lake.shop.orders VALUES (1, DATE '2024-02-29', 9.99), (2, NULL, 0.50)");
    }
  }

  @AfterAll
  static void empty() throws Exception {
    if (PLAIN != null) {
      try (Connection connection = connect()) {
        Server.update(connection, "DROP SCHEMA lake.shop CASCADE");
      }
    }
  }

  private static Connection connect() throws Exception {
    return DriverManager.getConnection("jdbc:arrow-flight-sql://" + PLAIN + "/?useEncryption=false");
  }

  @Test
  void the_program_of_the_page_about_jdbc_runs(@TempDir Path folder) throws Exception {
    String program = found("jdbc.md", "```java\n(.*?)```");
    assertTrue(program.contains("127.0.0.1:50051"), program);
    String source = "import java.sql.*;\n\npublic class Program {\n  public static void main(String[] arguments) throws Exception {\n"
        + program.replace("127.0.0.1:50051", PLAIN) + "  }\n}\n";
    Path file = Files.writeString(folder.resolve("Program.java"), source);
    ByteArrayOutputStream messages = new ByteArrayOutputStream();
    int failed = ToolProvider.getSystemJavaCompiler().run(null, messages, messages, "-d", folder.toString(), file.toString());
    assertEquals(0, failed, () -> messages.toString(StandardCharsets.UTF_8) + source);

    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    PrintStream before = System.out;
    System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
    // The class finds the driver where this class does.
    try (URLClassLoader classes = new URLClassLoader(new URL[] {folder.toUri().toURL()}, PagesTest.class.getClassLoader())) {
      classes.loadClass("Program").getMethod("main", String[].class).invoke(null, (Object) new String[0]);
    } finally {
      System.setOut(before);
    }
    assertEquals("9.99", printed.toString(StandardCharsets.UTF_8).strip());
  }

  @Test
  void the_class_and_the_url_of_the_page_about_dbeaver_connect() throws Exception {
    String[] address = PLAIN.split(":");
    String url = found("dbeaver.md", "`(jdbc:[^`]*)`").replace("{host}", address[0]).replace("{port}", address[1]);
    Class<?> driverClass = Class.forName(found("dbeaver.md", "Class: `([^`]*)`"));
    Driver driver = (Driver) driverClass.getDeclaredConstructor().newInstance();
    assertTrue(driver.acceptsURL(url), url);
    try (Connection connection = driver.connect(url, new Properties())) {
      assertEquals(2, Server.number(connection, "SELECT count(*) FROM lake.shop.orders"));
    }
  }

  /** The part of a page that a pattern's group is. */
  private static String found(String page, String pattern) throws Exception {
    String text = Files.readString(Server.REPOSITORY.resolve("docs/clients/" + page));
    Matcher matcher = Pattern.compile(pattern, Pattern.DOTALL).matcher(text);
    assertTrue(matcher.find(), () -> page + " has no " + pattern);
    return matcher.group(1);
  }
}
