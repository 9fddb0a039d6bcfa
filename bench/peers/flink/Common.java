import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SimpleStringEncoder;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.sink.FileSink;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.file.src.reader.TextLineInputFormat;
import org.apache.flink.core.fs.Path;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/**
 * What both jobs share: the environment, the source and the sink. Settings are environment variables: DATA and OUT
 * (folders), BACKEND (hashmap or rocksdb), CHECKPOINT_MS (no checkpoints without it), WORKERS.
 */
public class Common {
  static final JsonFactory JSON = new JsonFactory();

  /** When the first record was parsed, a reader was half way, and the last record was handled; workers are threads here. */
  static volatile long first = 0;
  static volatile long middle = 0;
  static volatile long last = 0;

  static StreamExecutionEnvironment environment() {
    boolean onHeap = setting("BACKEND", "hashmap").equals("hashmap");
    String checkpoints = new File(setting("OUT", ""), "checkpoints").getAbsolutePath();
    Configuration c = new Configuration();
    c.setString("state.backend.type", setting("BACKEND", "hashmap"));
    c.setString("state.backend.rocksdb.localdir", checkpoints + "-local");
    c.setString("execution.checkpointing.incremental", "true");
    c.setString("execution.checkpointing.storage", "filesystem");
    c.setString("execution.checkpointing.dir", "file://" + checkpoints);
    c.setString("taskmanager.memory.managed.size", onHeap ? "16m" : "2g");
    c.setString("taskmanager.memory.network.min", "128m");
    c.setString("taskmanager.memory.network.max", "128m");
    c.setString("taskmanager.numberOfTaskSlots", setting("WORKERS", "2"));
    c.setString("pipeline.object-reuse", "true");
    c.setString("rest.bind-address", "127.0.0.1");
    c.setString("rest.address", "127.0.0.1");
    int workers = Integer.parseInt(setting("WORKERS", "2"));
    StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(workers, c);
    long every = Long.parseLong(setting("CHECKPOINT_MS", "0"));
    if (every > 0) environment.enableCheckpointing(every);
    return environment;
  }

  /** The lines of the two parts of an input. */
  static DataStream<String> lines(StreamExecutionEnvironment environment, String name) {
    Path[] parts = {path("DATA", name + ".p0.jsonl"), path("DATA", name + ".p1.jsonl")};
    FileSource<String> source = FileSource.forRecordStreamFormat(new TextLineInputFormat(), parts).build();
    return environment.fromSource(source, WatermarkStrategy.noWatermarks(), "lines");
  }

  static FileSink<String> sink() {
    return FileSink.forRowFormat(path("OUT", "lines"), new SimpleStringEncoder<String>()).build();
  }

  private static Path path(String folder, String name) {
    return new Path("file://" + new File(setting(folder, ""), name).getAbsolutePath());
  }

  /** Tells the clock that a reader parsed its n-th record. */
  static void parsed(long n, long half) {
    if (n == 0 && first == 0) first = System.nanoTime();
    if (n == half) middle = System.nanoTime();
  }

  /** Runs the job and prints its report. The time is from the first record parsed to the last one handled. */
  static void execute(StreamExecutionEnvironment environment, long records) throws Exception {
    environment.execute();
    double seconds = (last - first) / 1e9;
    double secondHalf = (last - middle) / 1e9;
    System.out.printf("{\"records\":%d,\"seconds\":%.4f,\"second_half_seconds\":%.4f}%n", records, seconds, secondHalf);
  }

  static long count(String name) throws IOException {
    long lines = 0;
    byte[] bytes = new byte[1 << 20];
    try (InputStream in = new FileInputStream(new File(setting("DATA", ""), name + ".jsonl"))) {
      for (int read; (read = in.read(bytes)) > 0; ) for (int i = 0; i < read; i++) if (bytes[i] == '\n') lines++;
    }
    return lines;
  }

  static String setting(String name, String otherwise) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? otherwise : value;
  }
}
