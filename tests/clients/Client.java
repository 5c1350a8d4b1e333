import java.io.StringReader;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.util.PSQLException;

/** What PostgreSQL's JDBC driver sees at a server, told as JSON; see EXPECTED in tests/fix_clients.py. */
public final class Client {
    private static final String PREDICT = "SELECT PREDICT(weight USING ?::float8 AS a) AS p";

    private final String address;
    private final Connection connection;
    private final Map<String, Object> seen = new LinkedHashMap<>();

    private Client(String address, Connection connection) {
        this.address = address;
        this.connection = connection;
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            Client client = new Client(arguments[0], connection);
            client.values();
            client.results();
            client.failures();
            client.notifications();
            System.out.println(json(client.seen));
        }
    }

    private void values() throws SQLException {
        execute("CREATE TABLE plain (id int, name text, value float8)");
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO plain VALUES (?, ?, ?)")) {
            insert.setInt(1, 1);
            insert.setString(2, "one");
            insert.setNull(3, Types.DOUBLE);
            insert.addBatch();
            insert.setInt(1, 2);
            insert.setString(2, "zwei €");
            insert.setDouble(3, 2.5);
            insert.addBatch();
            insert.executeBatch();
        }
        seen.put("plain", rows("SELECT * FROM plain ORDER BY id"));
        seen.put("predict", predict(2.0));
        seen.put("null", predict(null));
        String each = "SELECT array_agg(PREDICT(weight USING x AS a ON MISSING NULL) ORDER BY n) "
            + "FROM unnest(?::float8[]) WITH ORDINALITY AS t(x, n)";
        try (PreparedStatement query = connection.prepareStatement(each)) {
            query.setArray(1, connection.createArrayOf("float8", new Double[] {1.0, null, 3.0}));
            seen.put("array", rows(query).get(0).get(0));
        }
        List<Object> predictions = new ArrayList<>();
        try (PreparedStatement query = connection.prepareStatement(PREDICT)) {
            for (int number = 0; number < 50; number++) {
                query.setDouble(1, number);
                predictions.add(rows(query).get(0).get(0));
            }
        }
        seen.put("prepared", predictions);
    }

    private void results() throws Exception {
        // in portals of 1,000 rows
        connection.setAutoCommit(false);
        long count = 0;
        double sum = 0;
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(1000);
            ResultSet result = statement.executeQuery(
                "SELECT PREDICT(weight USING i::float8 AS a) FROM generate_series(1, 100000) AS t(i)");
            for (; result.next(); count++) {
                sum += result.getDouble(1);
            }
        }
        connection.setAutoCommit(true);
        seen.put("large", List.of(count, sum));
        long wide = 0;
        for (List<Object> row : rows("SELECT repeat('x', 1000) FROM generate_series(1, 20000)")) {
            wide += ((String) row.get(0)).length();
        }
        seen.put("wide", wide);
        // a batch goes as one pipeline
        try (PreparedStatement insert =
                connection.prepareStatement("INSERT INTO plain SELECT ?, NULL, PREDICT(weight USING ?::float8 AS a)")) {
            for (int number = 100; number < 300; number++) {
                insert.setInt(1, number);
                insert.setDouble(2, number);
                insert.addBatch();
            }
            insert.executeBatch();
        }
        check("a batch", rows("SELECT count(*) FROM plain WHERE value = 10 * id").get(0).get(0).equals(200L));
        connection.unwrap(PGConnection.class).getCopyAPI()
            .copyIn("COPY plain FROM STDIN WITH (FORMAT csv)", new StringReader("7,seven,7\n"));
        check("COPY", rows("SELECT PREDICT(weight USING value AS a) FROM plain WHERE id = 7").get(0).get(0).equals(70.0));
    }

    private void failures() throws SQLException {
        try {
            rows("SELECT PREDICT(weihgt USING 1.0 AS a)");
        } catch (PSQLException error) {
            seen.put("error", List.of(error.getSQLState(), error.getServerErrorMessage().getPosition(),
                error.getServerErrorMessage().getHint()));
        }
        connection.setAutoCommit(false);
        execute("INSERT INTO plain SELECT 3, NULL, PREDICT(weight USING 1.0::float8 AS a)");
        state("SELECT PREDICT(weight USING nothing)");
        seen.put("failed", state("SELECT PREDICT(weight USING 1.0::float8 AS a)"));
        connection.rollback();
        connection.setAutoCommit(true);
        seen.put("rolled_back", rows("SELECT count(*) FROM plain WHERE id = 3").get(0).get(0));
        seen.put("after", predict(2.0));
        try (Statement statement = connection.createStatement()) {
            Thread canceling = new Thread(() -> cancel(statement));
            canceling.setDaemon(true);
            canceling.start();
            statement.executeQuery("SELECT pg_sleep(30), 'PREDICT'");
        } catch (SQLException error) {
            seen.put("canceled", error.getSQLState());
        }
    }

    /** Cancels a statement once it sleeps: a request that comes before is for nothing. */
    private void cancel(Statement running) {
        String sleeps = "SELECT 1 FROM pg_stat_activity WHERE usename = current_user AND wait_event = 'PgSleep'";
        try (Connection watching = DriverManager.getConnection(address);
                Statement statement = watching.createStatement()) {
            while (!statement.executeQuery(sleeps).next()) {
                Thread.sleep(20);
            }
            running.cancel();
        } catch (SQLException | InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    private void notifications() throws SQLException {
        execute("LISTEN channel");
        execute("NOTIFY channel, 'hello'");
        PGNotification[] notified = connection.unwrap(PGConnection.class).getNotifications(60_000);
        seen.put("notified", List.of(notified[0].getName(), notified[0].getParameter()));
    }

    private Object predict(Double value) throws SQLException {
        try (PreparedStatement query = connection.prepareStatement(PREDICT)) {
            query.setObject(1, value, Types.DOUBLE);
            return rows(query).get(0).get(0);
        }
    }

    private String state(String sql) {
        try {
            execute(sql);
        } catch (SQLException error) {
            return error.getSQLState();
        }
        return null;
    }

    private void execute(String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    private List<List<Object>> rows(String sql) throws SQLException {
        try (PreparedStatement query = connection.prepareStatement(sql)) {
            return rows(query);
        }
    }

    private static List<List<Object>> rows(PreparedStatement query) throws SQLException {
        try (ResultSet result = query.executeQuery()) {
            return Metadata.rows(result);
        }
    }

    private static void check(String what, boolean holds) {
        if (!holds) {
            throw new IllegalStateException(what);
        }
    }

    static String json(Object value) throws SQLException {
        if (value instanceof Array) {
            return json(java.util.Arrays.asList((Object[]) ((Array) value).getArray()));
        }
        if (value instanceof Map) {
            List<String> parts = new ArrayList<>();
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                parts.add(json(entry.getKey()) + ": " + json(entry.getValue()));
            }
            return "{" + String.join(", ", parts) + "}";
        }
        if (value instanceof List) {
            List<String> parts = new ArrayList<>();
            for (Object part : (List<?>) value) {
                parts.add(json(part));
            }
            return "[" + String.join(", ", parts) + "]";
        }
        if (value instanceof Double && ((Double) value).isNaN()) {
            return "\"NaN\"";
        }
        if (value == null || value instanceof Number || value instanceof Boolean) {
            return String.valueOf(value);
        }
        StringBuilder text = new StringBuilder("\"");
        for (char character : value.toString().toCharArray()) {
            boolean plain = character >= ' ' && character < 127 && character != '"' && character != '\\';
            text.append(plain ? String.valueOf(character) : String.format("\\u%04x", (int) character));
        }
        return text.append('"').toString();
    }
}
