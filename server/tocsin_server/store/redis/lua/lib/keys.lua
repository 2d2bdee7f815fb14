-- keys: every key of a queue, derived from its root, "namespace:{queue}"; the braces keep them in one hash slot.
--   :j<arrival>      STRING  a job's record (lib/job); arrival is 6 bytes
--   :h<arrival>      HASH    e errors, p progress, r result, c cancel; only where a job has one of them
--   :l<arrival>      HASH    lines of log (lib/logs); only where the job has some
--   :d               HASH    job_id -> arrival, of ids that this store did not make (lib/ids)
--   :s               ZSET    SCHEDULED by due time
--   :w<type>         ZSET    WAITING by -priority; member is due time and arrival, 6 bytes each: equal scores sort by bytes
--   :a               ZSET    ACTIVE by end of lease
--   :e  :f           ZSET    COMPLETED and CANCELLED, FAILED, by end time
--   :x               ZSET    all ended ones by the time their retention is over, and those to be begun by a time
--   :K<type>:<key>   ZSET    jobs that collapse, by what they are and arrival (lib/key_rows)
--   :O               ZSET    what is to be done for jobs that wait for others (lib/following), by when: arrival of a BLOCKED one;
--                    arrival and I4 revision of one that ended, whose children are to hear of it
--   :E               HASH    those that ended: arrival and revision -> B how, B whether its id is its own, I6 create, own
--   :C<arrival>      SET     references of children of a job that has not ended; behind the arrival the revision: that has
--   :D<arrival>      HASH    parents of a child
--   :i<name>:<n>     SET     listing index, bucket n: arrivals modulo 256 (an intset: 2 bytes a job)
--   :r<name>         ZSET    buckets in use of index <name>; <name> is "<state>:<type>" or "#<tag>=<value>"
--   :n               HASH    "<state>:<type>" -> how many stand
--   :m               HASH    "<c|f><minute>" -> attempts that completed or failed in that minute
--   :v               STREAM  changes; one entry a script call (lib/events)
--   :o               HASH    minute -> changes up to its first entry
--   :q               HASH    n last arrival, v events so far, epoch, paused, reason, settings, cmax, fmax, drain, flat: no
--                    SCHEDULED job has a priority (lib/commit), notes: a note stands until, unused:
--                    since when nothing is known to have changed, gone_e, gone_f: the latest end time of those of :e and
--                    :f that were deleted before their time
--                    limits, turn, turns, halted: of limits and turns (lib/limits, lib/turns, lib/pausing); until: when the
--                    pause ends by itself; shared: it has shared limits, and refuses grants up to this version, told: the
--                    number of its last word (lib/telling); ageing, rehead: of priorities that grow (lib/levels, lib/refiling)
--   :w<type>:<key>   ZSET    the same row for one key, where limits or turns look for it (lib/filing); the key may be empty
--   :g<type> :G<type> :t<key> :P :p :T  the heads of those rows (lib/turns)
--   :c<type> :c:<key> :c<type>:<key>    ZSET  who runs, by start time: places of limits (lib/filing)
--   :R<limit> :R<limit>:<key>           STRING  a rate, and until when it is halted (lib/rates); it expires by itself
--   :k               STRING  the tick record (lib/tick)
--   :z               HASH    schedule_id -> 16 characters of its stamp, then the schedule (store/schedule_records.py)
--   :y               ZSET    schedules by when they are to be looked at; without those that are not
--   :u               ZSET    all schedules, by id
--   :b<key>          STRING  a note: 8 bytes of revision, then its value; it expires by itself
local ROOT = KEYS[1]
local NAMESPACE, QUEUE = string.match(ROOT, '^(.-):{(.*)}$')

local function key(suffix)
  return ROOT .. ':' .. suffix
end
