import java.time.Duration;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/** The job `iot`: three signals of a machine in tumbling windows of 10 s. */
public class IotWindow {
  public static class Reading {
    public String machine;
    public long ts;
    public double temperature, vibration, pressure;

    public Reading() {}
  }

  public static class Signal {
    public double sum, squares, max = -Double.MAX_VALUE, min = Double.MAX_VALUE;

    public Signal() {}

    void add(double value) {
      sum += value;
      squares += value * value;
      max = Math.max(max, value);
      min = Math.min(min, value);
    }

    void write(StringBuilder line, String name, long n) {
      double mean = sum / n;
      double std = Math.sqrt(Math.max(0, squares / n - mean * mean));
      line.append(",\"").append(name).append("_mean\":").append(mean);
      line.append(",\"").append(name).append("_std\":").append(std);
      line.append(",\"").append(name).append("_max\":").append(max);
      line.append(",\"").append(name).append("_min\":").append(min);
    }
  }

  public static class Totals {
    public long n;
    public Signal temperature = new Signal(), vibration = new Signal(), pressure = new Signal();

    public Totals() {}
  }

  public static class Parse extends RichMapFunction<String, Reading> {
    private final long half;
    private transient long n;

    Parse(long half) {
      this.half = half;
    }

    @Override
    public Reading map(String line) throws Exception {
      Common.parsed(n++, half);
      Reading reading = new Reading();
      try (JsonParser json = Common.JSON.createParser(line)) {
        json.nextToken();
        while (json.nextToken() == JsonToken.FIELD_NAME) {
          String field = json.currentName();
          json.nextToken();
          switch (field) {
            case "machine_id" -> reading.machine = json.getText();
            case "ts" -> reading.ts = json.getLongValue();
            case "temperature" -> reading.temperature = json.getDoubleValue();
            case "vibration" -> reading.vibration = json.getDoubleValue();
            case "pressure" -> reading.pressure = json.getDoubleValue();
            default -> json.skipChildren();
          }
        }
      }
      return reading;
    }
  }

  public static class Add implements AggregateFunction<Reading, Totals, Totals> {
    @Override
    public Totals createAccumulator() {
      return new Totals();
    }

    @Override
    public Totals add(Reading reading, Totals totals) {
      totals.n++;
      totals.temperature.add(reading.temperature);
      totals.vibration.add(reading.vibration);
      totals.pressure.add(reading.pressure);
      return totals;
    }

    @Override
    public Totals getResult(Totals totals) {
      return totals;
    }

    @Override
    public Totals merge(Totals a, Totals b) {
      throw new UnsupportedOperationException("tumbling windows are not merged");
    }
  }

  public static class Line extends ProcessWindowFunction<Totals, String, String, TimeWindow> {
    @Override
    public void process(String machine, Context context, Iterable<Totals> one, Collector<String> out) {
      Totals totals = one.iterator().next();
      StringBuilder line = new StringBuilder(400);
      line.append("{\"machine_id\":\"").append(machine);
      line.append("\",\"window_start\":").append(context.window().getStart());
      line.append(",\"n\":").append(totals.n);
      totals.temperature.write(line, "temperature", totals.n);
      totals.vibration.write(line, "vibration", totals.n);
      totals.pressure.write(line, "pressure", totals.n);
      out.collect(line.append('}').toString());
      Common.last = System.nanoTime();
    }
  }

  public static void main(String[] arguments) throws Exception {
    long records = Common.count("iot");
    StreamExecutionEnvironment environment = Common.environment();
    WatermarkStrategy<Reading> watermarks =
        WatermarkStrategy.<Reading>forBoundedOutOfOrderness(Duration.ofSeconds(1))
            .withTimestampAssigner((reading, before) -> reading.ts);
    // A reader has half of the records.
    Common.lines(environment, "iot")
        .map(new Parse(records / 4))
        .assignTimestampsAndWatermarks(watermarks)
        .keyBy(reading -> reading.machine)
        .window(TumblingEventTimeWindows.of(Duration.ofSeconds(10)))
        .aggregate(new Add(), new Line())
        .sinkTo(Common.sink());
    Common.execute(environment, records);
  }
}
