-- promote: makes due SCHEDULED jobs WAITING, at most `limit` of them; says whether more are due.
local function promote(limit)
  local due = redis.call('ZRANGEBYSCORE', key('s'), '-inf', NOW, 'LIMIT', 0, limit + 1)
  local alike = {}
  for i = 1, math.min(#due, limit) do
    local arrival = due[i]
    local n, meta, own = struct.unpack('>I6', arrival), read(arrival)
    local job = meta and alike[meta]
    if job then
      join(job, n, arrival, own)
    else
      job = meta and job_of(n, arrival, meta, own)
      if job and job.state == SCHEDULED then
        job.state, alike[meta] = WAITING, job
        changed(job)
      else
        redis.call('ZREM', key('s'), arrival)
      end
    end
  end
  if #due > 0 then commit() end
  return #due > limit
end
