-- transitions: what can happen to a job, in one place each. Each leaves the job touched, to be committed.
-- Says that a job's fields were changed: it is to be committed, and its revision grows.
local function changed(job)
  job.revision, job.meta = job.revision + 1, nil
  return touch(job)
end

-- Adds {I4 length, I6 time, I4 attempt, body} to the job's errors: the first and the last 9 are kept.
-- body: I2 type, I2 message, trace.
local function add_error(job, body)
  local one = struct.pack('>I6I4', NOW, job.attempt) .. body
  one = struct.pack('>I4', #one) .. one
  local all = get_extra(job, 'e') or ''
  local ends, at = {}, 1
  while at <= #all do
    at = at + 4 + struct.unpack('>I4', all, at)
    ends[#ends + 1] = at
  end
  if #ends >= 10 then all = string.sub(all, 1, ends[1] - 1) .. string.sub(all, ends[2]) end
  put_extra(job, 'e', all .. one)
end

local function error_body(type, message)
  return struct.pack('>I2', #type) .. type .. struct.pack('>I2', #message) .. message
end

local function end_as(job, state)
  job.state, job.ends, job.held = state, NOW, false
  return changed(job)
end

-- cancel is >I6I6I6I6: asked, delivered, obeyed (0: not), grace; then I2 reason, by.
local function cancelled(job)
  local cancel = get_extra(job, 'c')
  if cancel then put_extra(job, 'c', string.sub(cancel, 1, 12) .. struct.pack('>I6', NOW) .. string.sub(cancel, 19)) end
  return end_as(job, CANCELLED)
end

-- Ends a job that had to begin before now and has not; whether it is one.
--- @rare
local function expired(job)
  local by = begin_by(job)
  if not by or by > NOW then return false end
  put_extra(job, 'c', struct.pack('>I6I6I6I6I2', NOW, 0, 0, 0, 7) .. 'EXPIRED')
  cancelled(job)
  return true
end

-- Asks a running job to stop. wish: I6 grace, I2 reason, by. Who runs it is to be rung ("cancels").
local function ask_to_stop(job, wish)
  put_extra(job, 'c', struct.pack('>I6I6I6', NOW, 0, 0) .. wish)
  set_flag(job, CANCEL_ASKED)
  job.ends = math.min(job.ends, NOW + struct.unpack('>I6', wish))
  return changed(job)
end

local function make_due(job, due)
  job.due, job.ends = due, job.ends == 1 and job.flags >= FILED and 1 or 0  -- it keeps its key's place (lib/filing)
  job.state = due > NOW and SCHEDULED or WAITING
  return changed(job)
end

-- The attempt's process is gone. `most` crashes in a row are poison: fewer where it ran nothing else (MAX_CRASHES) than
-- where its lease ran out (MAX_LEASES_LOST), as another job may have killed it then.
local function crashed(job, body, most)
  job.crashes = math.min(job.crashes + 1, 255)
  add_error(job, body)
  if has(job, CANCEL_ASKED) then return cancelled(job) end
  if job.crashes >= most then
    add_error(job, error_body('POISON', string.format(
      'the process that ran it died or froze %d times in a row; it is not run again. Mend the handler, then retry the job.',
      job.crashes)))
    return end_as(job, FAILED)
  end
  job.state, job.ends = WAITING, 0
  return changed(job)
end

-- An attempt's end in the rates: kind is "c" (completed) or "f" (failed).
local function count_ending(rates, kind)
  rates[kind] = (rates[kind] or 0) + 1
end

local function flush_rates(rates)
  local minute = math.floor(NOW / 60000)
  for kind, by in pairs(rates) do
    if redis.call('HINCRBY', key('m'), kind .. minute, by) == by then
      -- The first of a minute sweeps the old ones: figures look back five minutes.
      for _, field in ipairs(redis.call('HKEYS', key('m'))) do
        if tonumber(string.sub(field, 2)) < minute - 6 then redis.call('HDEL', key('m'), field) end
      end
    end
  end
end

-- Takes a job away.
local function remove(job)
  job.gone, job.old_tags = true, tags(job)
  return touch(job)
end

-- Takes a job away before its time. Of ended ones the queue keeps up to which end time some went so, for reports; what
-- retention takes they know by themselves.
local function remove_early(job)
  local field = job.state == FAILED and 'gone_f' or 'gone_e'
  if ended(job.state) and job.ends > tonumber(redis.call('HGET', key('q'), field) or 0) then
    redis.call('HSET', key('q'), field, string.format('%d', job.ends))
  end
  return remove(job)
end
