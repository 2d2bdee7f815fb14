/** An error that says what follows: no further attempt, or one in a while; else the job's retry policy does. */
public class Failure extends Exception {
  final String type;
  final boolean fatal;
  final long retryInMs;

  public Failure(String type, String message, boolean fatal, long retryInMs) {
    super(message);
    this.type = type;
    this.fatal = fatal;
    this.retryInMs = retryInMs;
  }

  /** Gives the job back: no attempt is spent. */
  public static class Release extends Exception {
    public Release(String reason) {
      super(reason);
    }
  }
}
