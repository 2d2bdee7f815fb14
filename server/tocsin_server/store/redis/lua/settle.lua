#!lua flags=allow-oom
-- settle: children of one queue hear of their parents. One that waits for none any more is let go; one whose parent failed
-- ends, where its rule says so.
-- KEYS[1]  root of the queue
-- ARGV     for each: id of the child | "1" where all its open parents were asked just now | of each parent I2 length,
--          reference, I6 arrival (0: any), B how it ended, 0 where it has not (lib/following)
-- Returns  a state a child, 0 where none stands
-- Events   one a job that changed
-- What it hears twice, or of jobs that it does not wait for, changes nothing.
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/ids lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions
local WORDS = {'is gone', 0, 0, 0, 0, 'ended FAILED', 'ended CANCELLED'}

-- Ends a job because of this parent.
local function fail(job, rule, reference, how)
  local queue, at = struct.unpack('>Bc0', reference)
  local said = string.format("job '%s' in queue '%s', which it waited for, %s", string.sub(reference, at), queue, WORDS[how])
  if rule == FAIL_TOO then
    add_error(job, error_body('PARENT_FAILED', said))
    end_as(job, FAILED)
  else
    said = 'PARENT_FAILED: ' .. said
    put_extra(job, 'c', struct.pack('>I6I6I6I6I2', NOW, 0, 0, 0, #said) .. said)
    cancelled(job)
  end
end

-- Notes what it hears of its parents. The first that failed, and how, if one did.
local function note(parents, heard)
  local at, failed, failed_how = 1, nil, nil
  while at <= #heard do
    local reference, n, how
    reference, n, how, at = struct.unpack('>I2c0I6B', heard, at)
    local known = redis.call('HGET', parents, reference)
    local place, known_n, known_how
    if known then place, known_n, known_how = struct.unpack('>I2I6B', known) end
    if known_how == OPEN and (n == 0 or known_n == 0 or known_n >= MISSES or n == known_n) then
      redis.call('HSET', parents, reference, struct.pack('>I2I6B', place, n > 0 and n or known_n, how))
      if how ~= OPEN then redis.call('HINCRBY', parents, '', -1) end
      if how ~= OPEN and how ~= COMPLETED and not failed then failed, failed_how = reference, how end
    end
  end
  return failed, failed_how
end

local function settle(job, asked_all, heard)
  local parents, depends = key('D' .. job.arrival), condition(job, DEPENDS)
  local rule, of_end = struct.unpack('>BB', depends)
  local failed, how = note(parents, heard)
  if of_end == 1 and how == GONE then
    remove(job)  -- the job that it was to follow was never made
  elseif failed and rule ~= RUN_ALL_THE_SAME then
    fail(job, rule, failed, how)
  elseif tonumber(redis.call('HGET', parents, '') or 0) <= 0 then
    job.state = job.due > NOW and SCHEDULED or WAITING
    changed(job)
  elseif asked_all then
    job.errand, job.quiet = next_look(job.create, depends, ASK_AGAIN_MS), true
    touch(job)
  end
end

local states = {}
for i = 1, #ARGV, 3 do
  local job = find_job(ARGV[i])
  if job and job.state == BLOCKED and condition(job, DEPENDS) then settle(job, ARGV[i + 1] == '1', ARGV[i + 2]) end
  states[#states + 1] = job and not job.gone and job.state or 0
end
commit()
return states
