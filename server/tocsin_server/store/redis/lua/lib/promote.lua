-- promote: makes SCHEDULED jobs WAITING, of these arrivals, and commits.
local comes = false  -- of a queue with limits that do not let all jobs wait: what becomes of one that comes (lib/full)
local function make_waiting(arrivals)
  local alike = {}
  for _, arrival in ipairs(arrivals) do
    local n, meta, own = struct.unpack('>I6', arrival), read(arrival)
    local job = meta and alike[meta]
    if job then
      join(job, n, arrival, own)
    else
      job = meta and job_of(n, arrival, meta, own)
      if job and job.state == SCHEDULED then
        job.state = WAITING
        if comes then comes(job) else alike[meta] = job end
        changed(job)
      else
        drop('s', arrival)
      end
    end
  end
  commit()
  flush_dropped()
end
