-- Heads of rows, and the best job among them. A row: {type, row = {member, score, ...}, at = where it is read next,
-- due = true where its jobs are SCHEDULED still}.

-- Adds a row for each type of the due SCHEDULED jobs, best first, and marks these jobs in `due_left`; what is no such job
-- any more is dropped from the index. Returns the last one's place.
local function add_due_rows(due, left, rows, due_left)
  local by_meta, by_type, last = {}, {}, false
  for _, arrival in ipairs(due) do
    local meta = read(arrival)
    local job = meta and (by_meta[meta] or parse(meta))
    if not job or job.state ~= SCHEDULED then
      drop('s', arrival)
    else
      by_meta[meta], due_left[arrival] = job, true
      last = struct.pack('>I6', job.due) .. arrival
      if (left[job.type] or 0) > 0 then
        local list = by_type[job.type] or {}
        by_type[job.type], list[#list + 1] = list, {-job.priority, last}
      end
    end
  end
  for type, list in pairs(by_type) do
    table.sort(list, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
    local row = {}
    for i, one in ipairs(list) do row[2 * i - 1], row[2 * i] = one[2], one[1] end
    rows[#rows + 1] = {type = type, row = row, at = 1, due = true}
  end
  return last
end

-- The row with the best job of the types that are `left`, and its member; nil where there is none, or where one that was
-- not looked at, behind `horizon`, may be better.
local function best_of(rows, left, horizon)
  local found, score, member
  for i = 1, #rows do
    local r = rows[i]
    if r.at <= #r.row and left[r.type] > 0 then
      local s, m = tonumber(r.row[r.at + 1]), r.row[r.at]
      if not found or s < score or (s == score and m < member) then found, score, member = r, s, m end
    end
  end
  if horizon and found and (score > 0 or (score == 0 and member > horizon)) then return nil end
  return found, member
end
