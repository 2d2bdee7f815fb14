#!lua flags=allow-oom
-- reap: take back leases that ran out.
-- KEYS[1]  root of the queue
-- ARGV     1 limit
-- Returns  for each that was taken back its answer
-- Events   one a job
-- Bounds   at most `limit` a call; the caller asks again while it brings that many
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions
local late = redis.call('ZRANGEBYSCORE', key('a'), '-inf', NOW, 'LIMIT', 0, tonumber(ARGV[1]))
local rates, taken = {}, {}
for _, member in ipairs(late) do
  local job = load(struct.unpack('>I6', member))
  if job and job.state == ACTIVE then
    job.token = NO_TOKEN  -- a late result of this attempt is refused
    count_ending(rates, 'f')
    crashed(job, error_body('LEASE_EXPIRED',
      'the process that ran it was not heard of until its lease ended: it died, froze, or lost the store.'), MAX_LEASES_LOST)
    taken[#taken + 1] = job.arrival .. meta_of(job) .. job.own
  else
    redis.call('ZREM', key('a'), member)
  end
end
commit()
flush_rates(rates)
return taken
