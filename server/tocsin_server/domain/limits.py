"""Every limit of names, sizes and times, as CONTRACT fixes them. GetServerInfo shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

JOB_SPEC_BYTES = 1 << 20
REQUEST_BYTES = 16 << 20
RESPONSE_BYTES = 3_670_016  # 3.5 MiB: clients of other languages stop reading at 4 MiB
PAGE_BYTES = 3_300_000  # of a page of jobs, as a store counts them before they are messages: below RESPONSE_BYTES
RESULT_BYTES = 256 << 10
PROGRESS_MESSAGE_BYTES = 1 << 10
ERROR_TYPE_BYTES = 200
ERROR_MESSAGE_BYTES = 1 << 10
ERROR_TRACE_BYTES = 8 << 10
ERRORS_KEPT = 10  # of a job: the first and the last 9
REASON_BYTES = 1 << 10
LOG_LINES = 1_000  # kept of a job, over all its attempts
LOG_LINE_BYTES = 4 << 10
LOG_BYTES = 256 << 10  # of a job's lines together
LOG_HEAD_LINES, LOG_HEAD_BYTES = 200, 64 << 10  # of them the first, which stay where lines are dropped
LOG_PAGE_LINES = 500  # in one answer
EXPLAINED_IDS = 100  # of jobs that one waits for
BATCH_ITEMS = 1_000
PAGE_SIZE = 1_000
DEFAULT_PAGE_SIZE = 50
SKIP = 10_000
NAME_CHARACTERS = 100
JOB_ID_CHARACTERS = 200
JOB_ID_BYTES = 600
LIMIT_KEY_BYTES = 200
COLLAPSE_KEY_BYTES = 200
PARENTS = 1_000  # of one job
ON_ENDS = 3  # in a row: a job's, that one's, and the next one's
EXPLAINED_PARENTS = 10  # that a sentence names of those that a job waits for
MAX_WEIGHT = 100  # of a key, in the turns of keys
LIMITS_PER_QUEUE = 20
LIMIT_NAME_CHARACTERS = 63
MAX_ACTIVE = 100_000  # of a limit
RATE_JOBS = 1_000_000
TAGS = 16
TAG_KEY_CHARACTERS = 63
TAG_VALUE_BYTES = 200
FILTER_TYPES = 100
FILTER_STATES = 50  # there are seven, but nothing is wrong with naming one twice
WORKER_NAME_CHARACTERS = 200
VERSION_CHARACTERS = 63  # of a worker's code; of the name of its language, too
REQUEST_ID_CHARACTERS = 200
ASKS = 100  # of a worker in one call: queues that it takes jobs of
ASKED_TYPES = 100  # of one queue
LEASED_AT_ONCE = 1_000  # jobs that one call asks for
CREDITS = 10_000  # of a worker's stream that are unused
HELD_TOKENS = 10_000  # that a stream begins or ends with
HEARTBEAT_LINES = 1_000  # of log, in one heartbeat
MIN_LEASE = timedelta(seconds=5)
MAX_LEASE = timedelta(hours=1)
DEFAULT_LEASE = timedelta(seconds=30)
CUT_LEASE = timedelta(seconds=10)  # so long leases last once the stream that they were given by is cut
MAX_WAIT = timedelta(seconds=60)
DEFAULT_WAIT = timedelta(seconds=20)
TYPES_PER_QUEUE = 1_000  # listing and health walk the types that stand in a queue, so their number is bounded
MASK_PATHS = TYPES_PER_QUEUE + 10  # of an update mask: each of a queue's types, and its plain fields
MAX_ATTEMPTS = 100
MAX_CONCURRENCY = 10_000  # attempts at once in one process
MAX_CRASHES = 3  # in a row, the last of a process that ran nothing else: they end a job as poison
MAX_LEASES_LOST = 10  # the same where nothing but lost leases tells of it: a neighbour of poison has those, too
MAX_BACKOFF = timedelta(days=30)
MAX_RATE_SPAN = timedelta(days=30)
MIN_AGEING, MAX_AGEING = timedelta(seconds=1), timedelta(days=30)  # by which a job that waits gains a priority
MAX_INITIAL_DELAY = timedelta(hours=24)
MAX_TIMEOUT = timedelta(days=30)
MAX_WINDOW = timedelta(days=366)  # of jobs of one key
MAX_BLOCK_TIMEOUT = timedelta(days=366)
ASK_PARENTS = timedelta(seconds=30)  # after which a job that waits asks its parents, where nobody let it before
ASK_AGAIN = timedelta(minutes=10)  # and then so often, should a word be lost in a way that nobody thought of
RETELL = timedelta(seconds=5)  # after which an end is told to children again, where nobody said that it was
MAX_RETENTION = timedelta(days=3653)
MAX_GRACE = timedelta(hours=24)
MAX_WAIT, DEFAULT_WAIT = timedelta(seconds=60), timedelta(seconds=20)  # of WaitJob
DEFAULT_GRACE = timedelta(seconds=30)
MAX_DELAY = timedelta(days=36525)  # 100 years
FIRST_TIME = datetime(1970, 1, 1, tzinfo=UTC)
LAST_TIME = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
#: A clock that is moved by hand goes no further: what is kept for decades, or due in a century, ends before LAST_TIME.
LAST_CLOCK = datetime(9499, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
CRON_LINES = 20
MIN_INTERVAL = timedelta(seconds=1)
MAX_JITTER = timedelta(hours=24)
MAX_RUNS = 1_000_000_000_000
CATCH_UP, DEFAULT_CATCH_UP = 1_000, 100  # times that are made up for
MIN_CATCH_UP_WINDOW = timedelta(minutes=1)
NEXT_TIMES = 5  # that are shown of a schedule
SCHEDULE_CALENDARS = 10
CALENDAR_DATES = 5_000
CALENDARS = 1_000  # of a store; each can have some 300 KiB
CALENDARS_PAGE = 20
SHARED_LIMITS = 100  # of a store: all stand in one record, which each claim of their queues changes
SHARED_LIMIT_QUEUES = 100
SHARED_LIMITS_PAGE = 100
CALENDAR_WEEKDAYS = 50  # there are seven, but nothing is wrong with naming one twice
BACKFILL_TIMES = 1_000  # of one call
MIN_REPORT_WINDOW, MAX_REPORT_WINDOW = timedelta(minutes=1), timedelta(days=366)
PREVIEW_TIMES, DEFAULT_PREVIEW_TIMES = 1_000, 10
REMINDERS_PER_SET = 20
MAX_REMINDER_OFFSET = timedelta(days=366)
REMINDER_SET_KEPT = timedelta(days=31)  # after its last reminder: longer than a FAILED one stands, by default
SPARED_AFTER_END = timedelta(minutes=5)  # trimming by count spares what ended this lately
DEFAULT_QUEUE = "default"

#: Queues that one scaled object counts the jobs of; keys of its metadata, which has KEDA's own beside ours.
SCALED_QUEUES, SCALER_METADATA = 100, 100
EXPORT_QUEUES = 1_000  # that one export may name
IMPORT_RECORDS = 10_000  # in one request of an import
REFUSED_ITEMS = 1_000  # of one import, that its answer names
NOTE_BYTES = 256 << 10  # of what an import puts beside a queue's jobs; the largest set of reminders has a tenth of it
# A job's numbers that an import may bring: far above what is reached, far below where a store's own counting ends.
IMPORTED_ATTEMPT = 1_000_000_000
IMPORTED_REVISION = 1_000_000_000
IMPORTED_ARRIVAL = 1 << 44
