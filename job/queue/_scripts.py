"""The Lua scripts that change a stream. Each is atomic, and first looks whether the delivery that it is about is ours.

A delivery is the triple of an entry of the stream, our consumer and the delivery count that the group keeps of it: XACK and
XCLAIM look at neither of the last two. An entry has the fields payload and id; one that was delivered before also at (when it
was put, in ms), n (deliveries that count) and history (a line of JSON each). An entry that only a foreign XADD has made has
its payload, and its own id for the message's. Beside the stream lie `delayed`, a sorted set of such fields by when they are
ready; `dead`, a stream; and `taken`, a hash of what to add to the history of entries that were taken over, since an entry
itself cannot be changed: it is gone when they are.
"""

from __future__ import annotations

import hashlib
from typing import Final, final


@final
class Script:
    """One script, and the digest by which Redis knows it."""

    __slots__ = ("digest", "source")

    def __init__(self, source: str) -> None:
        self.source = _COMMON + source
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


_COMMON: Final = """
local stream, delayed, dead, taken = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, consumer = ARGV[1], ARGV[2]

local function whole(number)  -- tostring would write 1.7e+12
  return string.format('%.0f', number)
end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function in_group(...)  -- a lost group is made again, from the start: what is done is not in the stream any more
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err and string.find(reply.err, '^NOGROUP') then
    redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
    reply = redis.pcall(...)
  end
  if type(reply) == 'table' and reply.err then
    error(reply)
  end
  return reply
end

local function ours(entry, count)
  local found = in_group('XPENDING', stream, group, entry, entry, 1)[1]
  return found and found[2] == consumer and found[4] == tonumber(count)
end

local function parsed(entry, list)
  local message = {}
  for i = 1, #list, 2 do
    message[list[i]] = list[i + 1]
  end
  message.id = message.id or entry
  message.at = message.at or string.match(entry, '^%d+')
  message.n = tonumber(message.n or '0')
  message.history = message.history or ''
  return message
end

local function find(entry, count)
  local found = redis.call('XRANGE', stream, entry, entry)[1]
  if not found then
    return nil
  end
  local message = parsed(entry, found[2])
  if count > 1 then
    message.history = message.history .. (redis.call('HGET', taken, entry) or '')
  end
  return message
end

local function add(message)
  local fields = {'id', message.id, 'at', message.at, 'n', whole(message.n), 'history', message.history}
  if message.payload then
    fields[9], fields[10] = 'payload', message.payload
  end
  redis.call('XADD', stream, '*', unpack(fields))
end

local function drop(entry, count)
  redis.call('XACK', stream, group, entry)
  redis.call('XDEL', stream, entry)
  if count > 1 then
    redis.call('HDEL', taken, entry)
  end
end

local function line(number, at, error, code)
  local told = {n = number, at = at}
  if error ~= '' then
    told.error = error
  end
  if code ~= '' then
    told.code = code
  end
  return cjson.encode(told) .. '\\n'
end

local function bury(message, number, error, code)
  redis.call('XADD', dead, '*', 'id', message.id, 'at', message.at, 'n', whole(number), 'history', message.history,
    'error', error, 'code', code, 'payload', message.payload or '')
end
"""

CHECK: Final = Script("""
redis.call('XLEN', stream)
redis.call('XLEN', dead)
redis.call('ZCARD', delayed)
redis.call('HLEN', taken)
if not redis.acl_check_cmd then
  return redis.error_reply('ERR Redis 7 or later is needed')
end
local needed = {
  {'XADD', stream, '*', 'f', 'v'}, {'XDEL', stream, '0-1'}, {'XRANGE', stream, '-', '+'},
  {'XREAD', 'STREAMS', stream, '0'}, {'XREADGROUP', 'GROUP', group, consumer, 'STREAMS', stream, '>'},
  {'XACK', stream, group, '0-1'}, {'XCLAIM', stream, group, consumer, '0', '0-1'}, {'XPENDING', stream, group},
  {'XINFO', 'GROUPS', stream}, {'XINFO', 'CONSUMERS', stream, group},
  {'XGROUP', 'CREATE', stream, group, '0'}, {'XGROUP', 'DELCONSUMER', stream, group, consumer},
  {'XADD', dead, '*', 'f', 'v'}, {'ZADD', delayed, '0', 'm'}, {'ZREM', delayed, 'm'}, {'ZRANGE', delayed, '0', '0'},
  {'HSET', taken, 'f', 'v'}, {'HGET', taken, 'f'}, {'HDEL', taken, 'f'}, {'TIME'},
}
for _, command in ipairs(needed) do
  if not redis.acl_check_cmd(unpack(command)) then
    return redis.error_reply('NOPERM this user has no right to call ' .. command[1] .. ' on the keys of the queue')
  end
end
in_group('XPENDING', stream, group)
return 1
""")

TAKE: Final = Script("""
local wanted, lease, most, look = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), ARGV[6] == '1'
local time = now()
local out, unrun = {}, {}

local function hand_out(entry, count, message)
  out[#out + 1] = {entry, count, message.id, message.at, message.n, message.history, message.payload}
end

local function give_up(entry, count, message, number)
  local last = cjson.decode(string.match(message.history, '([^\\n]*)\\n$'))
  bury(message, number, last.error or '', last.code or '')
  drop(entry, count)
  unrun[#unrun + 1] = {message.id, message.history}
end

for _, packed in ipairs(redis.call('ZRANGE', delayed, '-inf', whole(time), 'BYSCORE', 'LIMIT', 0, 100)) do
  redis.call('ZREM', delayed, packed)
  add(cmsgpack.unpack(packed))
end

if look then
  for _, late in ipairs(in_group('XPENDING', stream, group, 'IDLE', lease, '-', '+', wanted)) do
    local entry, count = late[1], late[4]
    local message = find(entry, count)
    if not message then
      drop(entry, 2)
    else
      local number = message.n + count
      local lost = line(number, time, 'the lease was over', 'lease.over')
      redis.call('HSET', taken, entry, (redis.call('HGET', taken, entry) or '') .. lost)
      message.history = message.history .. lost
      if number >= most then
        give_up(entry, count + 1, message, number)
      else
        redis.call('XCLAIM', stream, group, consumer, 0, entry, 'RETRYCOUNT', count + 1, 'JUSTID')
        hand_out(entry, count + 1, message)
      end
    end
  end
end

while #out < wanted do
  local reply = in_group('XREADGROUP', 'GROUP', group, consumer, 'COUNT', wanted - #out, 'STREAMS', stream, '>')
  if not reply then
    break
  end
  for _, found in ipairs(reply[1][2]) do
    local message = parsed(found[1], found[2])
    if message.n > 0 and message.n >= most then
      give_up(found[1], 1, message, message.n)
    else
      hand_out(found[1], 1, message)
    end
  end
end

local wait, last = 500, '0-0'
if #out == 0 then
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  if first[2] then
    wait = math.max(1, math.min(wait, tonumber(first[2]) - time))
  end
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local known = parsed('0-0', info)
    if known.name == group then
      last = known['last-delivered-id']
    end
  end
end
return {out, unrun, wait, last}
""")

ACK: Final = Script("""
local entry, count = ARGV[3], tonumber(ARGV[4])
if not ours(entry, count) then
  return 0
end
drop(entry, count)
return 1
""")

EXTEND: Final = Script("""
local entry, count = ARGV[3], tonumber(ARGV[4])
if not ours(entry, count) then
  return 0
end
return #redis.call('XCLAIM', stream, group, consumer, 0, entry, 'RETRYCOUNT', count, 'JUSTID')
""")

RELEASE: Final = Script("""
local entry, count, after, error, code, counts = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8]
if not ours(entry, count) then
  return 0
end
local message = find(entry, count)
drop(entry, count)
if message then
  message.n = message.n + count
  if counts == '1' then
    message.history = message.history .. line(message.n, now(), error, code)
  else
    message.n = message.n - 1
  end
  if after > 0 then
    redis.call('ZADD', delayed, whole(now() + after), cmsgpack.pack(message))
  else
    add(message)
  end
end
return 1
""")

DEAD: Final = Script("""
local entry, count, error, code = ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
if not ours(entry, count) then
  return 0
end
local message = find(entry, count)
drop(entry, count)
if message then
  local number = message.n + count
  message.history = message.history .. line(number, now(), error, code)
  bury(message, number, error, code)
end
return 1
""")

PUT_LATER: Final = Script("""
local time = now()
local message = {payload = ARGV[3], id = ARGV[4], at = whole(time), n = 0, history = ''}
redis.call('ZADD', delayed, whole(time + tonumber(ARGV[5])), cmsgpack.pack(message))
return 1
""")

STATISTICS: Final = Script("""
local length, pending, last = redis.call('XLEN', stream), 0, '0-0'
if redis.call('EXISTS', stream) == 1 then
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local known = parsed('0-0', info)
    if known.name == group then
      pending, last = known.pending, known['last-delivered-id']
    end
  end
end
local age = -1
local first = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)[1]
if first then
  age = math.max(0, now() - tonumber(parsed(first[1], first[2]).at))
end
return {math.max(0, length - pending), pending, redis.call('ZCARD', delayed), redis.call('XLEN', dead), age}
""")

REQUEUE: Final = Script("""
local from, upto, wanted = ARGV[3], ARGV[4], {}
for i = 5, #ARGV do
  wanted[ARGV[i]] = true
end
local moved, last = 0, ''
for _, found in ipairs(redis.call('XRANGE', dead, from, upto, 'COUNT', 100)) do
  local message = parsed(found[1], found[2])
  last = found[1]
  if #ARGV == 4 or wanted[message.id] then
    message.n, message.history = 0, ''
    redis.call('XDEL', dead, found[1])
    add(message)
    moved = moved + 1
  end
end
return {moved, last}
""")

PURGE: Final = Script("""
local count = redis.call('XLEN', dead)
redis.call('DEL', dead)
return count
""")

LEAVE: Final = Script("""
local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, group)
if consumers.err then
  return 0
end
for _, info in ipairs(consumers) do
  local known = parsed('0-0', info)
  if known.pending == 0 and (known.name == ARGV[3] or known.idle > tonumber(ARGV[4])) then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, known.name)
  end
end
return 1
""")
