import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/** The jobs `fraud` and `fraud-score`: velocity of a card in event-time order, then a rule, or the model named by MODEL. */
public class FraudVelocity {
  private static final long FIVE_MINUTES = 300_000;
  private static final long HOUR = 3_600_000;

  /** A transaction, and its features once they are known. */
  public static class Transaction {
    public long id;
    public String card, merchant;
    public double amount;
    public long ts, count5, count60;
    public double sum5, sum60, since;

    public Transaction() {}
  }

  /** One queue of events by number. Each window knows where it begins and how old its first event is. */
  public static class Totals {
    public long head5, head60, tail;
    public long newest = Long.MIN_VALUE, first5 = Long.MAX_VALUE, first60 = Long.MAX_VALUE;
    public double sum5, sum60;

    public Totals() {}
  }

  public static class Event {
    public long ts;
    public double amount;

    public Event() {}
  }

  public static class Parse extends RichMapFunction<String, Transaction> {
    private final long half;
    private transient long n;

    Parse(long half) {
      this.half = half;
    }

    @Override
    public Transaction map(String line) throws Exception {
      Common.parsed(n++, half);
      Transaction transaction = new Transaction();
      try (JsonParser json = Common.JSON.createParser(line)) {
        json.nextToken();
        while (json.nextToken() == JsonToken.FIELD_NAME) {
          String field = json.currentName();
          json.nextToken();
          switch (field) {
            case "tx_id" -> transaction.id = json.getLongValue();
            case "card_id" -> transaction.card = json.getText();
            case "merchant_id" -> transaction.merchant = json.getText();
            case "amount" -> transaction.amount = json.getDoubleValue();
            case "ts" -> transaction.ts = json.getLongValue();
            default -> json.skipChildren();
          }
        }
      }
      return transaction;
    }
  }

  /** Waits with a timer for the watermark, the idiom for event-time order, then adds a card's transactions. */
  public static class Velocity extends KeyedProcessFunction<String, Transaction, Transaction> {
    private transient MapState<Long, List<Transaction>> waiting;
    private transient MapState<Long, Event> queue;
    private transient ValueState<Totals> totals;

    @Override
    public void open(OpenContext context) {
      waiting =
          getRuntimeContext()
              .getMapState(new MapStateDescriptor<>("waiting", Types.LONG, Types.LIST(Types.POJO(Transaction.class))));
      queue = getRuntimeContext().getMapState(new MapStateDescriptor<>("queue", Types.LONG, Types.POJO(Event.class)));
      totals = getRuntimeContext().getState(new ValueStateDescriptor<>("totals", Types.POJO(Totals.class)));
    }

    @Override
    public void processElement(Transaction transaction, Context context, Collector<Transaction> out) throws Exception {
      List<Transaction> at = waiting.get(transaction.ts);
      if (at == null) {
        at = new ArrayList<>(1);
        context.timerService().registerEventTimeTimer(transaction.ts);
      }
      at.add(transaction);
      waiting.put(transaction.ts, at);
    }

    @Override
    public void onTimer(long ts, OnTimerContext context, Collector<Transaction> out) throws Exception {
      List<Transaction> at = waiting.get(ts);
      waiting.remove(ts);
      if (at.size() > 1) at.sort(Comparator.comparingLong(transaction -> transaction.id));
      Totals s = totals.value();
      if (s == null) s = new Totals();
      for (Transaction transaction : at) {
        add(s, transaction);
        out.collect(transaction);
      }
      totals.update(s);
    }

    private void add(Totals s, Transaction transaction) throws Exception {
      long ts = transaction.ts;
      transaction.since = s.newest == Long.MIN_VALUE ? -1 : (ts - s.newest) / 1000.0;
      s.newest = ts;
      Event event = new Event();
      event.ts = ts;
      event.amount = transaction.amount;
      queue.put(s.tail, event);
      if (s.head5 == s.tail) s.first5 = ts;
      if (s.head60 == s.tail) s.first60 = ts;
      s.tail++;
      s.sum5 += transaction.amount;
      s.sum60 += transaction.amount;
      if (s.first5 <= ts - FIVE_MINUTES) {
        Event oldest = queue.get(s.head5);
        do {
          s.sum5 -= oldest.amount;
          oldest = queue.get(++s.head5);
        } while (oldest.ts <= ts - FIVE_MINUTES);
        s.first5 = oldest.ts;
      }
      if (s.first60 <= ts - HOUR) {
        Event oldest = queue.get(s.head60);
        do {
          s.sum60 -= oldest.amount;
          queue.remove(s.head60);
          oldest = queue.get(++s.head60);
        } while (oldest.ts <= ts - HOUR);
        s.first60 = oldest.ts;
      }
      transaction.count5 = s.tail - s.head5;
      transaction.count60 = s.tail - s.head60;
      transaction.sum5 = s.sum5;
      transaction.sum60 = s.sum60;
    }
  }

  public static void main(String[] arguments) throws Exception {
    long records = Common.count("tx");
    StreamExecutionEnvironment environment = Common.environment();
    WatermarkStrategy<Transaction> watermarks =
        WatermarkStrategy.<Transaction>forBoundedOutOfOrderness(Duration.ofSeconds(2))
            .withTimestampAssigner((transaction, before) -> transaction.ts);
    // A reader has half of the records.
    Common.lines(environment, "tx")
        .map(new Parse(records / 4))
        .assignTimestampsAndWatermarks(watermarks)
        .keyBy(transaction -> transaction.card)
        .process(new Velocity())
        .transform("score", Types.STRING, new Score())
        .sinkTo(Common.sink());
    Common.execute(environment, records);
  }
}
