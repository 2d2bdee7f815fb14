-- rows: where a job of some state stands. A row is a sorted set; its members are arrivals, of a WAITING job due time and
-- arrival.
local BUCKET = 256
-- KEEPS_PLACE: score of a job that comes first in its key's row (lib/filing)
local KEEPS_PLACE = -2147483649

-- Key (what follows the root), score, and what goes before the arrival in the member (false: nothing).
local function place(at)
  local state = at.state
  if at.held then return nil end  -- nobody is to find it
  if state == SCHEDULED then return 's', at.due, false end
  if state == WAITING then
    local lead = struct.pack('>I6', at.due)
    if at.flags < FILED then return 'w' .. at.type, -at.priority, lead end
    return 'w' .. at.type .. ':' .. at.key, at.ends == 1 and KEEPS_PLACE or -at.priority, lead
  end
  if state == ACTIVE then return 'a', at.ends, false end
  if state == FAILED then return 'f', at.ends, false end
  if state >= COMPLETED then return 'e', at.ends, false end
end

-- When its retention is over. Not past the year 9999, where the callers' clocks end: a job that was placed may have ended
-- at any time.
local function expiry(job)
  local done, failed = COMMON_DONE, COMMON_FAILED
  if has(job, OWN_RETENTION) then done, failed = struct.unpack('>I6I6', job.rest, #job.rest - 11) end
  return math.min(job.ends + (job.state == FAILED and failed or done), 253402300799999)
end

-- The name of the list of its state and type.
local function field_name(at)
  return at.state .. ':' .. at.type
end
