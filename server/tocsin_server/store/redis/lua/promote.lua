#!lua flags=allow-oom
-- promote: make due SCHEDULED jobs of one queue WAITING.
-- KEYS[1]  root of the queue
-- Returns  1 if more are due
-- Events   one a job
-- Bounds   at most 50 a call
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions lib/full lib/promote
announce = false  -- as in claim: who waits for what was due has a timer of its own
if strict_limits() then comes = judge_due end
local due = redis.call('ZRANGEBYSCORE', key('s'), '-inf', NOW, 'LIMIT', 0, 51)
local more = #due > 50
due[51] = nil
make_waiting(due)
return more and 1 or 0
