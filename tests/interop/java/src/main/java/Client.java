import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.concurrent.TimeUnit.SECONDS;

import com.google.gson.Gson;
import com.google.protobuf.Duration;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import dev.tocsin.v1.CancelJobRequest;
import dev.tocsin.v1.GetJobRequest;
import dev.tocsin.v1.Job;
import dev.tocsin.v1.JobServiceGrpc;
import dev.tocsin.v1.JobServiceGrpc.JobServiceBlockingStub;
import dev.tocsin.v1.JobSpec;
import dev.tocsin.v1.ListJobsRequest;
import dev.tocsin.v1.ScheduleJobRequest;
import dev.tocsin.v1.WatchJobsRequest;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.InputStreamReader;
import java.util.Map;

/** Schedules a job, waits for it, lists, cancels one, and reads what is wrong with another. */
public final class Client {
  private static final String QUEUE = Settings.QUEUE;

  public static void main(String[] arguments) throws Exception {
    // Which calls may be repeated, and how long each may take: the file stands beside the protos.
    var file = new InputStreamReader(Client.class.getResourceAsStream("/tocsin/v1/service_config.json"), UTF_8);
    @SuppressWarnings("unchecked") Map<String, ?> serviceConfig = new Gson().fromJson(file, Map.class);
    var channel = Grpc.newChannelBuilder(Settings.SERVERS[0], InsecureChannelCredentials.create())
        .defaultServiceConfig(serviceConfig).enableRetry().build();
    var client = JobServiceGrpc.newBlockingStub(channel);

    var jobId = schedule(client, "Ada", 1).getJobId();
    client.watchJobs(WatchJobsRequest.newBuilder().setQueue(QUEUE).setJobId(jobId).build())
        .forEachRemaining(change -> System.out.println(change.getJob().getState()));
    var get = GetJobRequest.newBuilder().setQueue(QUEUE).setJobId(jobId).build();
    var done = client.withDeadlineAfter(10, SECONDS).getJob(get).getJob();
    System.out.println(done.getResult().getData().getStructValue().getFieldsOrThrow("name").getStringValue());

    var later = schedule(client, "Grace", 3600).getJobId();
    var asked = ListJobsRequest.newBuilder().setQueue(QUEUE).addStates(Job.State.SCHEDULED).build();
    var list = client.withDeadlineAfter(10, SECONDS).listJobs(asked);
    System.out.println(list.getJobs(0).getJobId().equals(later));
    var cancel = CancelJobRequest.newBuilder().setQueue(QUEUE).setJobId(later).setReason("moved").build();
    System.out.println(client.withDeadlineAfter(10, SECONDS).cancelJob(cancel).getJob().getState());

    var wrong = ScheduleJobRequest.newBuilder().setJob(JobSpec.newBuilder().setType("no spaces")).build();
    try {
      client.withDeadlineAfter(10, SECONDS).scheduleJob(wrong);
    } catch (StatusRuntimeException error) {
      explain(error);
    }
    channel.shutdown();
  }

  private static Job schedule(JobServiceBlockingStub client, String name, long seconds) {
    var data = Struct.newBuilder().putFields("name", Value.newBuilder().setStringValue(name).build());
    var job = JobSpec.newBuilder().setQueue(QUEUE).setType("conformance.echo").setData(data);
    var delay = Duration.newBuilder().setSeconds(seconds);
    var request = ScheduleJobRequest.newBuilder().setJob(job).setDelay(delay).build();
    return client.withDeadlineAfter(10, SECONDS).scheduleJob(request).getJob();
  }

  /** Prints an error and its details: the reason, and each field that is wrong. */
  private static void explain(StatusRuntimeException error) throws InvalidProtocolBufferException {
    System.out.println(error.getMessage());
    for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
      if (detail.is(ErrorInfo.class)) System.out.println(detail.unpack(ErrorInfo.class).getReason());
      if (detail.is(BadRequest.class))
        for (var bad : detail.unpack(BadRequest.class).getFieldViolationsList())
          System.out.println(bad.getField() + " " + bad.getDescription());
    }
  }
}
