package clients;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Base64;
import java.util.HexFormat;

/** Carries out, by the JDBC driver and its options given, what tests/clients/conversation.py asks for. */
public final class Main {
  private static final Gson GSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

  private final String url;
  private Connection connection;
  private HikariDataSource pool;

  private Main(String driver, String options) {
    url = "jdbc:" + driver + "://" + System.getenv("DB_HOST") + ":" + System.getenv("DB_PORT") + "/"
        + System.getenv("DB_SCHEMA") + "?" + options;
  }

  /** The arguments: {@code mysql} or {@code mariadb}, and the options of its URL. */
  public static void main(String[] arguments) throws Exception {
    Main client = new Main(arguments[0], arguments[1]);
    PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonObject answer;
      try {
        answer = client.carryOut(JsonParser.parseString(line).getAsJsonObject());
      } catch (SQLException error) {
        answer = told(error);
      }
      answers.println(GSON.toJson(answer));
    }
  }

  private JsonObject carryOut(JsonObject asked) throws SQLException, NoSuchAlgorithmException {
    switch (asked.get("do").getAsString()) {
      case "connect":
        connect();
        return new JsonObject();
      case "begin":
        connection.setAutoCommit(false);
        return new JsonObject();
      case "commit":
        connection.commit();
        connection.setAutoCommit(true);
        return new JsonObject();
      case "rollback":
        connection.rollback();
        connection.setAutoCommit(true);
        return new JsonObject();
      case "execute":
        return execute(asked.get("sql").getAsString(), asked.getAsJsonArray("parameters"));
      case "query":
        return query(asked.get("sql").getAsString(), asked.getAsJsonArray("parameters"));
      case "batch":
        return batch(asked.get("sql").getAsString(), asked.getAsJsonArray("rows"));
      case "digest":
        return digest(asked.get("sql").getAsString(), asked.getAsJsonArray("parameters"));
      case "pooled":
        return pooled(asked.get("sql").getAsString(), asked.getAsJsonArray("parameters"));
      default:
        throw new IllegalArgumentException("unknown request " + asked);
    }
  }

  private void connect() throws SQLException {
    if (connection != null) {
      connection.close();
    }
    connection = DriverManager.getConnection(url, System.getenv("DB_USER"), System.getenv("DB_PASSWORD"));
  }

  private JsonObject execute(String sql, JsonArray parameters) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(sql, Statement.RETURN_GENERATED_KEYS)) {
      bind(statement, parameters);
      JsonObject answer = new JsonObject();
      answer.addProperty("affected", statement.executeLargeUpdate());
      JsonArray ids = new JsonArray();
      try (ResultSet keys = statement.getGeneratedKeys()) {
        while (keys.next()) {
          ids.add(keys.getLong(1));
        }
      }
      answer.add("id", ids);
      answer.addProperty("warnings", String.valueOf(statement.getWarnings()));
      return answer;
    }
  }

  private JsonObject query(String sql, JsonArray parameters) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      bind(statement, parameters);
      JsonArray rows = new JsonArray();
      try (ResultSet found = statement.executeQuery()) {
        while (found.next()) {
          JsonArray row = new JsonArray();
          for (int column = 1; column <= found.getMetaData().getColumnCount(); column++) {
            row.add(found.getString(column));
          }
          rows.add(row);
        }
      }
      JsonObject answer = new JsonObject();
      answer.add("rows", rows);
      return answer;
    }
  }

  private JsonObject batch(String sql, JsonArray rows) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      for (JsonElement row : rows) {
        bind(statement, row.getAsJsonArray());
        statement.addBatch();
      }
      JsonObject answer = new JsonObject();
      answer.add("affected", GSON.toJsonTree(statement.executeBatch()));
      return answer;
    }
  }

  /** Tells of one large cell by its length and its hash. */
  private JsonObject digest(String sql, JsonArray parameters) throws SQLException, NoSuchAlgorithmException {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      bind(statement, parameters);
      try (ResultSet found = statement.executeQuery()) {
        found.next();
        byte[] data = found.getBytes(1);
        JsonObject answer = new JsonObject();
        answer.addProperty("bytes", data.length);
        answer.addProperty("sha256", HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data)));
        return answer;
      }
    }
  }

  /** Changes rows in a local transaction on whatever connection the pool gives. */
  private JsonObject pooled(String sql, JsonArray parameters) throws SQLException {
    if (pool == null) {
      HikariConfig options = new HikariConfig();
      options.setJdbcUrl(url);
      options.setUsername(System.getenv("DB_USER"));
      options.setPassword(System.getenv("DB_PASSWORD"));
      options.setMaximumPoolSize(1);
      options.setAutoCommit(false);
      options.setConnectionTimeout(5_000);
      pool = new HikariDataSource(options);
    }
    try (Connection given = pool.getConnection(); PreparedStatement statement = given.prepareStatement(sql)) {
      bind(statement, parameters);
      JsonObject answer = new JsonObject();
      answer.addProperty("affected", statement.executeUpdate());
      given.commit();
      return answer;
    }
  }

  private static void bind(PreparedStatement statement, JsonArray parameters) throws SQLException {
    for (int index = 0; index < parameters.size(); index++) {
      JsonElement each = parameters.get(index);
      if (each instanceof JsonNull) {
        statement.setObject(index + 1, null);
      } else if (each.isJsonObject()) {
        String text = each.getAsJsonObject().get("base64").getAsString();
        statement.setBytes(index + 1, Base64.getDecoder().decode(text));
      } else if (each.getAsJsonPrimitive().isNumber()) {
        statement.setLong(index + 1, each.getAsLong());
      } else {
        statement.setString(index + 1, each.getAsString());
      }
    }
  }

  private static JsonObject told(SQLException error) {
    JsonObject failure = new JsonObject();
    failure.addProperty("code", error.getErrorCode());
    failure.addProperty("state", error.getSQLState());
    failure.addProperty("message", error.getMessage());
    JsonObject answer = new JsonObject();
    answer.add("error", failure);
    return answer;
  }
}
