// agenda_booking_site.mjs 4|5|6|hokify URL COLLECTION: jobs of a booking site, by the words of its own queue.
import { opened } from "./agenda_opened.mjs";

const [version, address, collection] = process.argv.slice(2);
const { agenda } = await opened(version, address, collection);
const inTwoDays = new Date(Date.now() + 2 * 86_400_000);
const inAnHour = new Date(Date.now() + 3_600_000);
await agenda.now("email_notification", { to: "ada@example.com", subject: "Hello", text: "Hi Ada", priority: "normal" });
await agenda.schedule(inAnHour, "sms_notification", { to: "+4915112345678", message: "Hello" });
const booking = { bookingId: "41", customerEmail: "ada@example.com", bookingDate: inTwoDays, location: "Berlin" };
await agenda.schedule(inAnHour, "booking reminder", booking);
const payment = { paymentId: "p-1", customerEmail: "ada@example.com", amount: 25.0, currency: "USD", dueDate: inTwoDays };
await agenda.schedule(inAnHour, "payment_reminder", payment);
await agenda.schedule(inAnHour, "data_cleanup", { olderThanDays: 30, table: "sessions" });
process.stdout.write("written\n");
process.exit(0);
