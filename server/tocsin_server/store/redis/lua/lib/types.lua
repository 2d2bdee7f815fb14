-- types: whether a queue may have one more type; TYPES_PER_QUEUE bounds what listing and counting walk. And whether it
-- may hold one more job (JOBS_PER_QUEUE, 0: any number; JOBS_IN_QUEUES "name=number,beginning*=number", of which the
-- first that fits goes before it); jobs of this call are counted where they are new.
local known_types, known_count, known_jobs, counted = {}, 0, 0, false

local function read_counts()
  if counted then return end
  counted, known_types = true, {}
  local counts = redis.call('HGETALL', key('n'))
  for i = 1, #counts, 2 do
    local name = string.sub(counts[i], 3)
    known_jobs = known_jobs + tonumber(counts[i + 1])
    if not known_types[name] then known_types[name], known_count = true, known_count + 1 end
  end
end

local function job_fits()
  if JOBS_PER_QUEUE == 0 and JOBS_IN_QUEUES == '' then return true end
  local queue, most = string.match(KEYS[1], '{(.*)}$'), JOBS_PER_QUEUE
  for name, any, number in string.gmatch(JOBS_IN_QUEUES, '([^=,*]*)(%*?)=(%d+)') do
    if queue == name or (any == '*' and string.sub(queue, 1, #name) == name) then
      most = tonumber(number)
      break
    end
  end
  if most == 0 then return true end
  read_counts()
  if known_jobs >= most then return false end
  known_jobs = known_jobs + 1
  return true
end

-- Whether a job of it stands, mostly one that is WAITING; asked without reading the counters of all types.
local function stands(type)
  if redis.call('HEXISTS', key('n'), WAITING .. ':' .. type) == 1 then return true end
  local names = {}
  for state = SCHEDULED, CANCELLED do names[state] = state .. ':' .. type end
  for _, number in ipairs(redis.call('HMGET', key('n'), unpack(names))) do
    if number then return true end
  end
  return false
end

local function type_fits(type)
  if known_types[type] then return true end
  if counted or not stands(type) then
    read_counts()
    if not known_types[type] then
      if known_count >= TYPES_PER_QUEUE then return false end
      known_count = known_count + 1
    end
  end
  known_types[type] = true
  return true
end
