// What a page loads when it is needed, loaded with the tests: reading files takes time of
// the real clock, which fake timers don't wait for.
import "../auth/lease.js";
import "../auth/tabs.js";
import "../http/http.js";
import "../queue/queue.js";
import "../socket/polling.js";
import "../socket/rooms.js";
