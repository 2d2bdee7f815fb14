// bull_booking_site.mjs URL SYSTEM: jobs of a booking site, by the words of its own queue.
import Bull from "bull";
import { Queue } from "bullmq";

const [url, system] = process.argv.slice(2);
const queue = system === "bull" ? new Bull("site", url) : new Queue("site", { connection: { url } });
const options = { attempts: 3, backoff: { type: "exponential", delay: 2000 }, removeOnComplete: 50, delay: 3_600_000 };
const inTwoDays = new Date(Date.now() + 2 * 86_400_000);
const email = { to: "ada@example.com", subject: "Hello", template: "welcome", data: { name: "Ada" }, priority: "normal" };
await queue.add("email_notification", email, options);
await queue.add("sms_notification", { to: "+4915112345678", message: "Hello" }, options);
const booking = { bookingId: "41", customerEmail: "ada@example.com", bookingDate: inTwoDays, location: "Berlin" };
await queue.add("booking_reminder", booking, options);
const payment = { paymentId: "p-1", customerEmail: "ada@example.com", amount: 25.0, currency: "USD", dueDate: inTwoDays };
await queue.add("payment_reminder", payment, options);
await queue.add("data_cleanup", { olderThanDays: 30, table: "sessions" }, options);
await queue.close();
