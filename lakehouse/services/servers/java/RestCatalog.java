import jakarta.servlet.http.HttpServlet;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.Map;
import org.apache.iceberg.CatalogUtil;
import org.apache.iceberg.Files;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.io.FileIO;
import org.apache.iceberg.io.InputFile;
import org.apache.iceberg.io.OutputFile;
import org.apache.iceberg.io.PositionOutputStream;
import org.apache.iceberg.io.SeekableInputStream;
import org.apache.iceberg.rest.RESTCatalogAdapter;
import org.apache.iceberg.rest.RESTCatalogServlet;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;

/** Iceberg's own REST reference catalog on loopback: RestCatalog PORT DATABASE WAREHOUSE [key=value ...]. */
public class RestCatalog {
  public static void main(String[] words) throws Exception {
    Map<String, String> properties = new HashMap<>();
    properties.put("catalog-impl", "org.apache.iceberg.jdbc.JdbcCatalog");
    // Two requests at once wait for one another instead of failing with "database is locked".
    properties.put("uri", "jdbc:sqlite:" + words[1] + "?busy_timeout=30000");
    properties.put("jdbc.schema-version", "V1");
    properties.put("warehouse", words[2]);
    for (int i = 3; i < words.length; i++) {
      String[] pair = words[i].split("=", 2);
      properties.put(pair[0], pair[1]);
    }
    Catalog catalog = CatalogUtil.buildIcebergCatalog("reference", properties, null);
    HttpServlet servlet = new RESTCatalogServlet(new RESTCatalogAdapter(catalog));
    ServletContextHandler root = new ServletContextHandler(ServletContextHandler.NO_SESSIONS);
    root.addServlet(new ServletHolder(servlet), "/*");
    Server server = new Server();
    ServerConnector http = new ServerConnector(server);
    http.setHost("127.0.0.1");
    http.setPort(Integer.parseInt(words[0]));
    server.addConnector(http);
    server.setHandler(root);
    server.start();
    server.join();
  }

  /** Files of this machine under the very names that they were asked for by; Hadoop's libraries would be 50 MB. */
  public static class Folder implements FileIO {
    @Override
    public InputFile newInputFile(String location) {
      return new Input(location, Files.localInput(file(location)));
    }

    @Override
    public OutputFile newOutputFile(String location) {
      return new Output(location, Files.localOutput(file(location)));
    }

    @Override
    public void deleteFile(String location) {
      try {
        java.nio.file.Files.deleteIfExists(file(location).toPath());
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }

    private static File file(String location) {
      return new File("/" + location.replaceFirst("^file:", "").replaceFirst("^/+", ""));
    }
  }

  record Input(String location, InputFile file) implements InputFile {
    @Override
    public long getLength() {
      return file.getLength();
    }

    @Override
    public SeekableInputStream newStream() {
      return file.newStream();
    }

    @Override
    public boolean exists() {
      return file.exists();
    }
  }

  record Output(String location, OutputFile file) implements OutputFile {
    @Override
    public PositionOutputStream create() {
      return file.create();
    }

    @Override
    public PositionOutputStream createOrOverwrite() {
      return file.createOrOverwrite();
    }

    @Override
    public InputFile toInputFile() {
      return new Input(location, file.toInputFile());
    }
  }
}
