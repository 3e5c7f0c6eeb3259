// What a page loads when it is needed, loaded already: reading files takes time of the real clock.
import "../src/auth/tabs.js";
import "../src/http/http.js";
import "../src/queue/queue.js";
import "../src/socket/rooms.js";
