package org.example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Struct;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.example.assay.v1.AttestationResult;
import org.example.assay.v1.AttestationResultServiceGrpc;
import org.example.assay.v1.CheckOutcome;
import org.example.assay.v1.PlacementRequirements;
import org.example.assay.v1.PlacementServiceGrpc;
import org.example.assay.v1.PlacementTier;
import org.example.assay.v1.SelectHostsRequest;
import org.example.assay.v1.TrustStatus;
import org.example.assay.v1.WatchAttestationResultsRequest;
import org.example.assay.v1.WatchAttestationResultsResponse;

/** Selects hosts for a workload, then tells every change of a result until it is stopped. Argument: a profile. */
public final class SelectAndWatch {
  private static final List<Status.Code> FINAL =
      List.of(
          Status.Code.INVALID_ARGUMENT,
          Status.Code.PERMISSION_DENIED,
          Status.Code.UNAUTHENTICATED,
          Status.Code.UNIMPLEMENTED);

  public static void main(String[] arguments) throws Exception {
    ManagedChannel channel = connect(Path.of(arguments[0]));
    try {
      select(channel);
      watch(channel);
    } catch (StatusRuntimeException error) {
      Status.Code code = error.getStatus().getCode();
      System.err.println(code + " " + Failure.of(error).reason() + ": " + rootOf(error).getMessage());
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }

  /** A channel over mutual TLS, with the CA of the service and no other. It dials with the first call. */
  private static ManagedChannel connect(Path path) throws IOException {
    Struct.Builder profile = Struct.newBuilder();
    JsonFormat.parser().merge(Files.readString(path), profile);
    ChannelCredentials credentials =
        TlsChannelCredentials.newBuilder()
            .trustManager(part(profile, "authority"))
            .keyManager(part(profile, "certificate"), part(profile, "key"))
            .build();
    String server = profile.getFieldsOrThrow("server").getStringValue();
    return Grpc.newChannelBuilder(server, credentials).keepAliveTime(30, TimeUnit.SECONDS).build();
  }

  private static InputStream part(Struct.Builder profile, String name) {
    String text = profile.getFieldsOrThrow(name).getStringValue();
    return new ByteArrayInputStream(text.getBytes(StandardCharsets.US_ASCII));
  }

  private static void select(ManagedChannel channel) {
    PlacementRequirements requirements =
        PlacementRequirements.newBuilder().setMinimumTier(PlacementTier.PLACEMENT_TIER_AFFIRMING).build();
    SelectHostsRequest request =
        SelectHostsRequest.newBuilder().setRequirements(requirements).setCount(10).build();
    PlacementServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(10, TimeUnit.SECONDS)
        .selectHosts(request)
        .getHostsList()
        .forEach(host -> say("selected", host.getHost(), nameOf(host.getStatus())));
  }

  /** Goes on behind the last message after every interruption. */
  private static void watch(ManagedChannel channel) throws InterruptedException {
    var stub = AttestationResultServiceGrpc.newBlockingStub(channel);
    String token = "";
    while (true) {
      long pause = 1000;
      try {
        var request = WatchAttestationResultsRequest.newBuilder().setResumeToken(token).build();
        var messages = stub.watchAttestationResults(request);
        while (messages.hasNext()) {
          WatchAttestationResultsResponse message = messages.next();
          tell(message);
          token = message.getResumeToken();
        }
      } catch (StatusRuntimeException error) {
        Status.Code code = error.getStatus().getCode();
        if (FINAL.contains(code)) {
          throw error;
        }
        if (code == Status.Code.OUT_OF_RANGE) {
          // The service cannot resume from there: all present results come anew.
          token = "";
        }
        Failure failure = Failure.of(error);
        say("interrupted", code.name(), failure.reason());
        pause = Math.max(pause, failure.retryAfterMillis());
      }
      // The library's own pauses between connections grow; here the service is to be found again soon.
      channel.resetConnectBackoff();
      Thread.sleep(pause + (long) (Math.random() * 1000));
    }
  }

  private static void tell(WatchAttestationResultsResponse message) {
    switch (message.getEventCase()) {
      case CHANGE -> {
        AttestationResult result = message.getChange().getResult();
        String failed =
            result.getChecksList().stream()
                .filter(check -> check.getOutcome() != CheckOutcome.CHECK_OUTCOME_PASSED)
                .map(check -> check.getReason())
                .collect(Collectors.joining(" "));
        String word = message.getChange().getInitial() ? "present" : "changed";
        say(word, result.getHost(), nameOf(result.getStatus()), failed);
      }
      case REMOVAL -> say("removed", message.getRemoval().getHost(), message.getRemoval().getReason());
      case BOOKMARK -> {
        if (message.getBookmark().getSynced()) {
          say("synced");
        }
      }
      default -> {}
    }
  }

  /** Libraries wrap what happened: that a certificate was refused stands four causes below. */
  private static Throwable rootOf(Throwable error) {
    return error.getCause() == null ? error : rootOf(error.getCause());
  }

  private static String nameOf(TrustStatus status) {
    return status.name().replaceFirst("^TRUST_STATUS_", "");
  }

  private static void say(String... words) {
    System.out.println(String.join(" ", words).stripTrailing());
  }

  /** The stable reason of an error, and how long the service asks to wait. */
  private record Failure(String reason, long retryAfterMillis) {
    static Failure of(StatusRuntimeException error) {
      String reason = "";
      long retry = 0;
      com.google.rpc.Status status = StatusProto.fromThrowable(error);
      try {
        for (Any detail : status == null ? List.<Any>of() : status.getDetailsList()) {
          if (detail.is(ErrorInfo.class)) {
            reason = detail.unpack(ErrorInfo.class).getReason();
          } else if (detail.is(RetryInfo.class)) {
            var delay = detail.unpack(RetryInfo.class).getRetryDelay();
            retry = delay.getSeconds() * 1000 + delay.getNanos() / 1_000_000;
          }
        }
      } catch (InvalidProtocolBufferException malformed) {
        // Details are an extra: the code still counts.
      }
      return new Failure(reason, retry);
    }
  }
}
