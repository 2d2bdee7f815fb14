-- events: the queue's stream of changes. An entry holds the changes of one commit, as runs of jobs that stand alike after
-- them: B deleted, I2 how many, I2 length, meta, then of each job its arrival and own (lib/job). An entry's id is the
-- number of changes up to its end, so that "the last EVENTS_MAX" is a plain minimum.
local runs, run_of, run_at, run_jobs, changes_made = {}, false, 0, 0, 0

local function end_run()
  if not run_of then return end
  local meta = meta_of(run_of)
  runs[run_at] = struct.pack('>BI2I2', run_of.gone and 1 or 0, run_jobs, #meta) .. meta
  run_of = false
end

local function add_event(job, arrival, own)
  if job ~= run_of then
    end_run()
    run_of, run_at, run_jobs = job, #runs + 1, 0
    runs[run_at] = ''
  end
  run_jobs, changes_made = run_jobs + 1, changes_made + 1
  runs[#runs + 1] = arrival .. own
end

-- Once a minute: drops changes older than EVENTS_AGE_MS, by how many there had been when a minute began.
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

-- Writes them; how many changes there are with them, nil where nothing has changed.
local function flush_events()
  if changes_made == 0 then return nil end
  end_run()
  local total = redis.call('HINCRBY', key('q'), 'v', changes_made)
  redis.call('XADD', key('v'), 'MINID', '=', string.format('%d-0', math.max(total - EVENTS_MAX, 0)),
    string.format('%d-0', total), 'c', total - changes_made, 'b', table.concat(runs))
  local minute = math.floor(NOW / 60000)
  if redis.call('HSETNX', key('o'), minute, total) == 1 then drop_old_events(minute) end
  runs, changes_made = {}, 0
  return total
end
