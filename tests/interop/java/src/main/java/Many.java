import static java.util.concurrent.TimeUnit.SECONDS;

import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import com.google.protobuf.util.Durations;
import dev.tocsin.v1.JobServiceGrpc;
import dev.tocsin.v1.JobSpec;
import dev.tocsin.v1.ScheduleJobRequest;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.StatusRuntimeException;
import java.util.Arrays;

/** Schedules many jobs, for tests: `Many COUNT MS SPREAD_MS`, due one after the other within the spread. */
public final class Many {
  public static void main(String[] arguments) throws Exception {
    int count = Integer.parseInt(arguments[0]), ms = Integer.parseInt(arguments[1]);
    long spread = Long.parseLong(arguments[2]);
    var clients = Arrays.stream(Settings.SERVERS)
        .map(server -> Grpc.newChannelBuilder(server, InsecureChannelCredentials.create()).build())
        .map(JobServiceGrpc::newBlockingStub).toList();
    var data = Struct.newBuilder().putFields("ms", Value.newBuilder().setNumberValue(ms).build());
    var job = JobSpec.newBuilder().setQueue(Settings.QUEUE).setType("conformance.sleep").setData(data);
    var server = 0;
    for (var n = 0; n < count; n++) {
      var delay = spread * n / count;
      var request = ScheduleJobRequest.newBuilder().setJob(job).setJobId("java-" + n + "-" + delay)
          .setDelay(Durations.fromMillis(delay))
          .setOnConflict(ScheduleJobRequest.OnConflict.KEEP).build(); // so that it can be said again
      for (var again = true; again; ) {
        try {
          clients.get(server % clients.size()).withDeadlineAfter(10, SECONDS).scheduleJob(request);
          again = false;
        } catch (StatusRuntimeException error) {
          System.err.println(error.getMessage());
          server++;
          Thread.sleep(Settings.patience(0));
        }
      }
    }
    System.exit(0);
  }
}
