import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What tools such as Metabase and DBeaver ask the driver about a database, told as JSON. */
public final class Metadata {
    private Metadata() {}

    public static void main(String[] arguments) throws SQLException {
        Map<String, Object> seen = new LinkedHashMap<>();
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            DatabaseMetaData data = connection.getMetaData();
            seen.put("product", List.of(data.getDatabaseProductVersion(), data.getSQLKeywords(), data.getNumericFunctions(),
                data.getMaxColumnNameLength(), data.getDefaultTransactionIsolation(), data.getUserName()));
            seen.put("catalogs", rows(data.getCatalogs()));
            seen.put("schemas", rows(data.getSchemas()));
            seen.put("table types", rows(data.getTableTypes()));
            seen.put("tables", rows(data.getTables(null, null, "%", null)));
            seen.put("tables of a kind", rows(data.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"})));
            seen.put("columns", rows(data.getColumns(null, "public", "%", "%")));
            seen.put("columns of models", rows(data.getColumns(null, "models", "%", "%")));
            seen.put("types", rows(data.getTypeInfo()));
            seen.put("user types", rows(data.getUDTs(null, "%", "%", null)));
            seen.put("primary keys", rows(data.getPrimaryKeys(null, "public", "orders")));
            seen.put("imported keys", rows(data.getImportedKeys(null, "public", "orders")));
            seen.put("exported keys", rows(data.getExportedKeys(null, "public", "customers")));
            seen.put("indexes", rows(data.getIndexInfo(null, "public", "orders", false, false)));
            seen.put("privileges", rows(data.getTablePrivileges(null, "models", "%")));
            seen.put("column privileges", rows(data.getColumnPrivileges(null, "public", "orders", "%")));
            seen.put("best row identifier", rows(data.getBestRowIdentifier(null, "public", "orders", 0, true)));
            seen.put("functions", rows(data.getFunctions(null, "ml", "%")));
            seen.put("function columns", rows(data.getFunctionColumns(null, "ml", "%", "%")));
            seen.put("procedures", rows(data.getProcedures(null, "ml", "%")));
            seen.put("client info", rows(data.getClientInfoProperties()));
            seen.put("of a statement", statement(connection, arguments[1]));
        }
        System.out.println(Client.json(seen));
    }

    private static List<Object> statement(Connection connection, String sql) throws SQLException {
        List<Object> found = new ArrayList<>();
        try (PreparedStatement query = connection.prepareStatement(sql)) {
            ResultSetMetaData columns = query.getMetaData();
            for (int column = 1; column <= columns.getColumnCount(); column++) {
                found.add(List.of(columns.getColumnLabel(column), columns.getColumnTypeName(column),
                    columns.getTableName(column), columns.getPrecision(column), columns.isNullable(column)));
            }
            ParameterMetaData parameters = query.getParameterMetaData();
            for (int number = 1; number <= parameters.getParameterCount(); number++) {
                found.add(parameters.getParameterTypeName(number));
            }
        }
        return found;
    }

    static List<List<Object>> rows(ResultSet result) throws SQLException {
        List<List<Object>> rows = new ArrayList<>();
        int count = result.getMetaData().getColumnCount();
        while (result.next()) {
            List<Object> row = new ArrayList<>();
            for (int column = 1; column <= count; column++) {
                row.add(result.getObject(column));
            }
            rows.add(row);
        }
        return rows;
    }
}
