-- logs: the lines that a job's attempts wrote. A HASH of their own: number of a line, from 1 -> I6 time, I4 attempt,
-- B level, text; "m" -> LOG: last number; the head ends; the tail begins (0: there is none); bytes of the texts of both.
-- Of too many lines the oldest of the tail go (domain/logs.py).
local LOG, LINE, LINE_HEAD = '>I4I4I4I4I4', '>I6I4B', 11
local logs = {}  -- of jobs of this call, by arrival

local function log_of(job)
  local log = logs[job.arrival]
  if log then return log end
  log = {last = 0, head = 0, first = 0, head_bytes = 0, tail_bytes = 0, new = {}, gone = {}, anew = not has(job, HAS_LOG)}
  local kept = not log.anew and redis.call('HGET', key('l' .. job.arrival), 'm')
  if kept then log.last, log.head, log.first, log.head_bytes, log.tail_bytes = struct.unpack(LOG, kept) end
  logs[job.arrival] = log
  return log
end

-- Bytes of a text when it is clear (domain/sealed.py).
local function text_size(said)
  if string.sub(said, 1, 7) ~= 'sealed:' then return #said end
  return math.max(0, math.floor((#said - 7) / 4) * 3 - #string.match(said, '=*$') - SEALED_MORE)
end

local function drop_oldest(log, arrival)
  local number = log.first
  local new = log.new[number]
  local line = new or redis.call('HGET', key('l' .. arrival), number) or ''
  log.tail_bytes = log.tail_bytes - text_size(string.sub(line, LINE_HEAD + 1))
  if new then log.new[number] = nil else log.gone[#log.gone + 1] = number end
  log.first = number + 1
end

-- lines: {B level, I2 text} of each. They are written by flush_logs.
local function add_lines(job, lines)
  local log, at = log_of(job), 1
  while at <= #lines do
    local level, said
    level, said, at = struct.unpack('>BI2c0', lines, at)
    log.last = log.last + 1
    log.new[log.last] = struct.pack(LINE, NOW, job.attempt, level) .. said
    local size = text_size(said)
    if log.first == 0 and log.head < LOG_HEAD_LINES and log.head_bytes + size <= LOG_HEAD_BYTES then
      log.head, log.head_bytes = log.last, log.head_bytes + size
    else
      if log.first == 0 then log.first = log.last end
      log.tail_bytes = log.tail_bytes + size
      while log.head + log.last - log.first + 1 > LOG_LINES or log.head_bytes + log.tail_bytes > LOG_BYTES do
        drop_oldest(log, job.arrival)
      end
    end
  end
  set_flag(job, HAS_LOG)
  job.meta = nil
end

local function flush_logs()
  for arrival, log in pairs(logs) do
    local at, list = key('l' .. arrival), {'m'}
    list[2] = struct.pack(LOG, log.last, log.head, log.first, log.head_bytes, log.tail_bytes)
    for number, line in pairs(log.new) do
      list[#list + 1] = string.format('%d', number)
      list[#list + 1] = line
    end
    if log.anew then redis.call('UNLINK', at) end  -- what a server that knows of no logs left behind
    for i = 1, #list, 1000 do redis.call('HSET', at, unpack(list, i, math.min(i + 999, #list))) end
    for i = 1, #log.gone, 1000 do redis.call('HDEL', at, unpack(log.gone, i, math.min(i + 999, #log.gone))) end
  end
end
