-- events: the queue's stream of changes. An entry holds the changes of one commit, as runs of jobs that stand alike after
-- them: B deleted, I2 how many, I2 length, meta, then of each job its arrival and own (lib/job). An entry's id is the
-- number of changes up to its end, so that "the last EVENTS_MAX" is a plain minimum.
local stream = {runs = {}, changes = 0}  -- and of the run that has begun: job, where its head stands, jobs

local function end_run()
  local job = stream.job
  if not job then return end
  local meta = meta_of(job)
  stream.runs[stream.at] = struct.pack('>BI2I2', job.gone and 1 or 0, stream.jobs, #meta) .. meta
  stream.job = nil
end

local function add_event(job, arrival, own)
  local runs = stream.runs
  if job ~= stream.job then
    end_run()
    stream.job, stream.at, stream.jobs = job, #runs + 1, 0
    runs[stream.at] = ''
  end
  stream.jobs, stream.changes = stream.jobs + 1, stream.changes + 1
  runs[#runs + 1] = arrival .. own
end

-- Drops changes older than EVENTS_AGE_MS, by how many there had been when a minute began.
local function drop_old_events(minute)
  local begun, last, gone = redis.call('HGETALL', key('o')), 0, {}
  for i = 1, #begun, 2 do
    if tonumber(begun[i]) < minute - EVENTS_AGE_MS / 60000 then
      last = math.max(last, tonumber(begun[i + 1]))
      gone[#gone + 1] = begun[i]
    end
  end
  if #gone == 0 then return end
  redis.call('XTRIM', key('v'), 'MINID', '=', string.format('%d-0', last))
  redis.call('HDEL', key('o'), unpack(gone))
end

-- Writes them. How many changes there were before and are now, and the last minute of which is known how many there were
-- when it began.
local function flush_events(before, minute_known)
  local made = stream.changes
  if made == 0 then return before, minute_known end
  end_run()
  local total = redis.call('HINCRBY', key('q'), 'v', made)
  redis.call('XADD', key('v'), 'MINID', '=', string.format('%d-0', math.max(total - EVENTS_MAX, 0)),
    string.format('%d-0', total), 'c', total - made, 'b', table.concat(stream.runs))
  local minute = math.floor(NOW / 60000)
  if minute ~= minute_known and redis.call('HSETNX', key('o'), minute, total) == 1 then drop_old_events(minute) end
  stream.runs, stream.changes = {}, 0
  return total, minute
end
