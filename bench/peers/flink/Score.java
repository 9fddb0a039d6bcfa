import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.BoundedOneInput;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;

/**
 * The last step of the job `fraud`, chained to the keyed one: a rule or a model decides, and features are summed for the
 * check of the output. A batch is scored when it is full, at a watermark, before a checkpoint, and at the end.
 */
public class Score extends AbstractStreamOperator<String>
    implements OneInputStreamOperator<FraudVelocity.Transaction, String>, BoundedOneInput {
  private static final int BATCH = 64;
  private static final int WIDTH = 8;
  private static final long HOUR = 3_600_000;

  private transient double[] sums;
  private transient long records, alerts;
  private transient OrtSession model;
  private transient FloatBuffer rows;
  private transient long[] ids;
  private transient String[] cards;
  private transient int waiting;

  @Override
  public void open() throws Exception {
    super.open();
    sums = new double[2 * WIDTH];
    String path = Common.setting("MODEL", "");
    if (path.isEmpty()) return;
    ids = new long[BATCH];
    cards = new String[BATCH];
    rows = ByteBuffer.allocateDirect(BATCH * WIDTH * 4).order(ByteOrder.nativeOrder()).asFloatBuffer();
    OrtSession.SessionOptions options = new OrtSession.SessionOptions();
    options.setIntraOpNumThreads(1);
    options.setInterOpNumThreads(1);
    model = OrtEnvironment.getEnvironment().createSession(path, options);
  }

  @Override
  public void processElement(StreamRecord<FraudVelocity.Transaction> record) throws Exception {
    FraudVelocity.Transaction t = record.getValue();
    double ratio = t.amount / (t.sum5 / t.count5);
    double[] features = {t.amount, t.count5, t.sum5, t.count60, t.sum60, t.since, t.ts / HOUR % 24, ratio};
    double weight = t.id % 101 + 1;
    records++;
    for (int i = 0; i < WIDTH; i++) {
      sums[i] += features[i];
      sums[WIDTH + i] += features[i] * weight;
    }
    if (model == null) {
      if (t.count5 >= 3 && ratio > 3.0) alert(t.id, t.card, ratio);
      return;
    }
    for (double feature : features) rows.put((float) feature);
    ids[waiting] = t.id;
    cards[waiting++] = t.card;
    if (waiting == BATCH) flush();
  }

  private void alert(long id, String card, double score) {
    alerts++;
    String line = "{\"tx_id\":" + id + ",\"card_id\":\"" + card + "\",\"score\":" + score + "}";
    output.collect(new StreamRecord<>(line));
  }

  private void flush() throws OrtException {
    if (waiting == 0) return;
    rows.flip();
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    try (OnnxTensor input = OnnxTensor.createTensor(environment, rows, new long[] {waiting, WIDTH});
        OrtSession.Result result = model.run(Map.of("features", input), Set.of("probabilities"))) {
      FloatBuffer scores = ((OnnxTensor) result.get(0)).getFloatBuffer();
      for (int i = 0; i < waiting; i++) {
        float score = scores.get(2 * i + 1);
        if (score > 0.85f) alert(ids[i], cards[i], score);
      }
    }
    rows.clear();
    waiting = 0;
  }

  @Override
  public void processWatermark(Watermark watermark) throws Exception {
    flush();
    super.processWatermark(watermark);
  }

  @Override
  public void prepareSnapshotPreBarrier(long checkpoint) throws Exception {
    flush();
  }

  @Override
  public void endInput() throws Exception {
    flush();
    Common.last = System.nanoTime();
  }

  @Override
  public void close() throws Exception {
    if (records > 0) {
      int worker = getRuntimeContext().getTaskInfo().getIndexOfThisSubtask();
      String report = "{\"records\":" + records + ",\"alerts\":" + alerts + ",\"sums\":" + Arrays.toString(sums) + "}";
      Files.writeString(Path.of(Common.setting("OUT", ""), "sums-" + worker + ".json"), report);
    }
    super.close();
  }
}
